package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// The promises that the campaign holds Keyward to, in the order of the report.
const (
	nothingLost     = "an acknowledged change is there afterwards, in state and history"
	unchangedIsTrue = "a change that was answered as not made was not made"
	onceOnly        = "the same Idempotency-Key makes a change once"
	no500           = "no HTTP 500"
	expectedAnswers = "no request is refused without a reason (401, 403, 404 and 422 where the caller is right)"
	noDeadlock      = "no deadlock in PostgreSQL"
	stateSound      = "the state satisfies every invariant"
	historySound    = "every history is an intact chain"
	timeOfEffect    = "what is written down as the time of a change is when it took effect, within 5 s"
	timeInOrder     = "times in a history never run backwards"
	tokensGood      = "every signed token verifies against the key set served at that moment"
	tokensOutlived  = "no token outlives its key"
	noOldSigner     = "no replica signs with a key more than 10 s after it stopped signing"
	setsGood        = "every key set is well-formed: one active key first, nothing private, one ETag for one body"
	noOldSets       = "no replica serves a revoked key unmarked more than 10 s after the revocation"
	noRejection     = "verifiers reject no valid token during a scheduled rotation"
	trustEnds       = "verifiers refuse a revoked key once the promised trusted_until is over"
	linearizable    = "one policy's operations are linearizable for clients that ask to wait (porcupine)"
	boundedChange   = "every request is answered within 15 s"
	boundedSign     = "signing is answered within 2 s"
	boundedSet      = "a key set in memory is answered within 50 ms"
	clocksHeld      = "a process with a wrong clock neither signs nor changes"
	recovers        = "every replica serves again within 30 s after a fault, without a restart"
	staysAlive      = "no process ends by itself or panics"
	endsInOrder     = "a process ends within 35 s after SIGTERM"
	noSecretLogged  = "no credential or private key in a log"
	failoverKept    = "a failover by Patroni loses no acknowledged change and breaks no history"
)

var promises = []string{
	nothingLost, unchangedIsTrue, onceOnly, no500, expectedAnswers, noDeadlock, stateSound, historySound, timeOfEffect, timeInOrder,
	tokensGood, tokensOutlived, noOldSigner, setsGood, noOldSets, noRejection, trustEnds, linearizable,
	boundedChange, boundedSign, boundedSet, clocksHeld, recovers, staysAlive, endsInOrder, noSecretLogged, failoverKept,
}

// How many examples of a broken promise are printed: in all, and with the same
// faults in force.
const (
	samplesKept     = 8
	samplesPerCause = 2
)

// finding is a promise that was broken.
type finding struct {
	count   int
	causes  map[string]int // by the faults that were in force
	samples []string
}

// operations counts one kind of request.
type operations struct {
	acknowledged, refused, unavailable, unanswered int
	longest                                        time.Duration
	longestWhile                                   string
}

// faultRun is one fault that was injected.
type faultRun struct {
	name, target string
	span                       // to: when all replicas served again; zero while it is in force
	recovered    time.Duration // after the fault had ended
}

// record collects what the campaign sees. It may be used by many goroutines.
type record struct {
	began time.Time

	mu       sync.Mutex
	ops      map[string]*operations
	findings map[string]*finding
	checked  map[string]int // by promise or invariant: how often
	runs     []*faultRun
	measured map[string]time.Duration
	while    map[string]string // of measured
	notes    []string
	lateness []span // in which this program itself was not scheduled; see watchMachine
}

func newRecord() *record {
	return &record{
		began: time.Now(), ops: map[string]*operations{}, findings: map[string]*finding{}, checked: map[string]int{},
		measured: map[string]time.Duration{}, while: map[string]string{},
	}
}

// at is a moment as the report and its evidence show it.
func (r *record) at(t time.Time) string { return fmt.Sprintf("+%.3f s", t.Sub(r.began).Seconds()) }

// say prints progress.
func (r *record) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%8.1f  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// broke notes that a promise was broken now, with the evidence.
func (r *record) broke(promise, format string, args ...any) {
	now := time.Now()
	r.brokeDuring(promise, now, now, format, args...)
}

// brokeDuring notes that a promise was broken between two moments.
func (r *record) brokeDuring(promise string, from, to time.Time, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.findings[promise]
	if f == nil {
		f = &finding{causes: map[string]int{}}
		r.findings[promise] = f
	}
	cause := r.causes(from, to)
	f.count++
	if f.causes[cause]++; len(f.samples) < samplesKept && f.causes[cause] <= samplesPerCause {
		text := fmt.Sprintf("%s, %s: %s", r.at(to), cause, strings.TrimSpace(fmt.Sprintf(format, args...)))
		f.samples = append(f.samples, text)
		fmt.Fprintf(os.Stderr, "%8.1f  BROKEN: %s\n          %s\n", time.Since(r.began).Seconds(), promise, text)
	}
}

// causes names the faults that were in force, or not yet recovered from,
// between two moments.
func (r *record) causes(from, to time.Time) string {
	var names []string
	for _, run := range r.runs {
		if run.from.Before(to) && (run.to.IsZero() || from.Before(run.to)) || run.from.Equal(to) {
			names = append(names, run.name+" on "+run.target)
		}
	}
	if len(names) > 3 {
		names = append(names[:3], "others")
	}
	if len(names) == 0 {
		return "no fault"
	}
	return strings.Join(names, " and ")
}

// check counts checks of a promise or an invariant.
func (r *record) check(what string, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checked[what] += times
}

// measure keeps the largest value of something that is measured and not judged.
func (r *record) measure(what string, at time.Time, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d > r.measured[what] {
		r.measured[what], r.while[what] = d, r.causes(at, at)
	}
}

// note keeps a remark for the report.
func (r *record) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// enter notes that a fault is in force from now on.
func (r *record) enter(name, target string) *faultRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := &faultRun{name: name, target: target, span: span{from: time.Now()}}
	r.runs = append(r.runs, run)
	return run
}

// leave notes that a fault is over, and how long after its end all replicas
// served again.
func (r *record) leave(run *faultRun, recovered time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run.to, run.recovered = time.Now(), recovered
}

// forget takes back a fault that could not be injected.
func (r *record) forget(run *faultRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs = slices.DeleteFunc(r.runs, func(other *faultRun) bool { return other == run })
}

// operation counts a request. A wait for a process that was dead or stopped is
// nobody's fault and is left out of the longest waits.
func (r *record) operation(kind string, a answer, away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.ops[kind]
	if o == nil {
		o = &operations{}
		r.ops[kind] = o
	}
	switch {
	case a.err != nil:
		o.unanswered++
	case a.status < 400:
		o.acknowledged++
	case a.status < 500:
		o.refused++
	default:
		o.unavailable++
	}
	if took := a.took(); !away && took > o.longest {
		o.longest, o.longestWhile = took, r.causes(a.began, a.ended)
	}
}

// machineTick is how often watchMachine looks.
const machineTick = 10 * time.Millisecond

// watchMachine measures for how long this program, and so the whole machine,
// was too busy to be on time. Bounds of time are relaxed by that.
func (r *record) watchMachine(stop <-chan struct{}) {
	tick := time.NewTicker(machineTick)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		if late := now.Sub(last) - machineTick; late > machineTick {
			r.mu.Lock()
			r.lateness = append(r.lateness, span{last, now})
			if late > r.measured[machineLate] {
				r.measured[machineLate], r.while[machineLate] = late, r.causes(last, now)
			}
			r.mu.Unlock()
		}
		last = now
	}
}

const machineLate = "this program itself was not scheduled by the busy machine"

// machineDelay is the sum of the stretches between two moments in which the
// machine was late.
func (r *record) machineDelay(from, to time.Time) (sum time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.lateness) - 1; i >= 0 && r.lateness[i].to.After(from); i-- {
		if s := r.lateness[i]; s.overlaps(from, to) {
			sum += s.to.Sub(s.from)
		}
	}
	return sum
}

// broken lists the promises that were broken, in the order of the report.
func (r *record) broken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, p := range promises {
		if r.findings[p] != nil {
			names = append(names, p)
		}
	}
	return names
}

// escape makes a text fit into a cell of a Markdown table.
func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}
