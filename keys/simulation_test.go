package keys

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestSimulation lets random policies live for two years, with late ticks,
// crashes, changes of mind and revocations, and checks every promise of the
// package at each step. KEYWARD_SIMULATIONS says how many policies (make soak),
// KEYWARD_SIMULATION_SEED repeats a run.
func TestSimulation(t *testing.T) {
	count := env(t, "KEYWARD_SIMULATIONS", 500)
	if testing.Short() {
		count = min(count, 100)
	}
	seed := env(t, "KEYWARD_SIMULATION_SEED", rand.Uint64())
	t.Logf("KEYWARD_SIMULATION_SEED=%d", seed)
	var total tally
	for i := range count {
		w := newWorld(t, rand.New(rand.NewPCG(seed, i)))
		w.live(2 * 365 * day)
		if t.Failed() {
			t.Fatalf("policy %d of seed %d: %+v", i, seed, w.s)
		}
		total.add(w.tally)
	}
	t.Logf("%d policies: %+v", count, total)
	if total.Promoted == 0 || total.Thawed == 0 || total.Early == 0 || total.Crashed == 0 || total.Verified == 0 || total.Acts == 0 {
		t.Error("the simulation never came to what it is to test")
	}
}

func env(t *testing.T, name string, otherwise uint64) uint64 {
	value, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// tally counts what happened, to see that anything did.
type tally struct{ Ticks, Promoted, Thawed, Early, Crashed, Acts, Verified int }

func (t *tally) add(u tally) {
	sum, one := reflect.ValueOf(t).Elem(), reflect.ValueOf(u)
	for i := range sum.NumField() {
		sum.Field(i).SetInt(sum.Field(i).Int() + one.Field(i).Int())
	}
}

// world is one policy with its keys, its tokens and those who verify them.
type world struct {
	*testing.T
	*rand.Rand
	tally
	s    Schedule
	prop time.Duration // max-age + stale-while-revalidate now in force

	propBefore   time.Duration // prop until cachingSince
	cachingSince time.Time

	now  time.Time
	keys []Key
	born int

	lastToken     map[string]time.Time // latest exp that a token of the kid can have
	seen          map[string]bool      // published long enough when it became active
	purgedRevoked map[string]bool
	tokens        []token
	verifiers     []*verifier
	lost          bool // the steps of the last tick were never taken
	excuse        int  // published keys somebody's act has led to, over the cap
}

type token struct {
	kid string
	exp time.Time
}

// verifier keeps the set for as long as it was told when it fetched it.
type verifier struct {
	set   map[string]bool
	until time.Time
	slow  float64 // how far behind its clock is, as a share of the skew
}

func newWorld(t *testing.T, r *rand.Rand) *world {
	w := &world{T: t, Rand: r, now: t0, lastToken: map[string]time.Time{}, seen: map[string]bool{}, purgedRevoked: map[string]bool{}}
	w.s.ClockSkew = []time.Duration{0, time.Minute, 5 * time.Minute}[r.IntN(3)]
	w.prop = w.duration(time.Second, 2*hour)
	w.randomPolicy()
	w.changeFreezes()
	w.firstKeys()
	for range 3 {
		w.verifiers = append(w.verifiers, &verifier{slow: r.Float64()})
	}
	return w
}

// randomPolicy draws one that Validate would accept.
func (w *world) randomPolicy() {
	s := &w.s
	s.Alg = "ES256"
	s.PublishLead = w.prop + s.ClockSkew + w.duration(0, 3*day)
	s.RotationInterval = max(s.PublishLead, w.duration(hour, 400*day))
	if w.IntN(24) == 0 { // every rotation as soon as caches can know the key
		s.PublishLead = w.prop + s.ClockSkew
		s.RotationInterval = s.PublishLead
	}
	s.MaxTokenTTL = w.duration(time.Second, 30*day)
	s.GracePeriod = s.MaxTokenTTL + s.ClockSkew + w.duration(0, 60*day)
	s.PurgeAfter = w.duration(time.Second, 200*day)
	s.MaxPublishedKeys = 3 + w.IntN(8)
	if w.IntN(20) == 0 {
		s.RotationInterval = 0
	}
	s.Jitter = Jitter(uuid.UUID{byte(w.IntN(256))}, s.Alg, s.RotationInterval, 0.05)
}

// duration draws whole seconds, short ones as likely as long ones.
func (w *world) duration(from, to time.Duration) time.Duration {
	span := float64(to-from) / float64(time.Second)
	return from + time.Duration(span*w.Float64()*w.Float64()*w.Float64())*time.Second
}

// live runs the loop of the worker: sleep until next, or until somebody acts,
// then plan and take the steps, unless it crashes before the commit.
func (w *world) live(span time.Duration) {
	end := w.now.Add(span)
	next, onTime := w.now, false
	act := w.now.Add(w.duration(hour, 90*day))
	for w.Ticks < 600 && !w.Failed() {
		wake := w.later(next)
		quietUntil := earlierOf(wake, act)
		if !next.IsZero() {
			quietUntil = earlierOf(quietUntil, next)
		}
		onTime = wake.Equal(next) && onTime
		stop := earlierOf(wake, act)
		if stop.After(end) {
			return
		}
		w.quiet(quietUntil)
		w.traffic(stop)
		w.now = stop
		if stop.Equal(act) {
			w.act()
			w.Acts++
			act, onTime = w.now.Add(w.duration(hour, 90*day)), false
		}
		w.Ticks++
		if w.lost = w.IntN(10) == 0; w.lost { // the transaction never committed; it is tried again
			next, onTime = w.now.Add(w.duration(time.Microsecond, hour)), false
			w.Crashed++
			continue
		}
		next = w.tick(onTime)
		onTime = true
	}
}

// Later is when the worker really wakes up.
func (w *world) later(next time.Time) time.Time {
	if next.IsZero() {
		return w.now.Add(1000 * day)
	}
	wake := Later(next, w.now)
	if w.IntN(4) == 0 {
		wake = wake.Add(w.duration(time.Second, 20*day))
	}
	return wake
}

// tick plans and takes the steps.
func (w *world) tick(onTime bool) time.Time {
	before := w.published()
	steps, next := Plan(w.now, w.s, w.keys)
	if onTime && len(steps) == 0 {
		w.Errorf("%v: woken for nothing", w.now)
	}
	for _, step := range steps {
		w.take(step)
		w.invariants()
	}
	if again, same := Plan(w.now, w.s, w.keys); len(again) != 0 || !same.Equal(next) {
		w.Errorf("%v: planning again gives %v, next %v, after %v, next %v", w.now, again, same, steps, next)
	}
	if !next.IsZero() && !next.After(w.now) {
		w.Errorf("%v: next is %v", w.now, next)
	}
	w.cap(before)
	w.settled(next)
	return next
}

// settled checks what holds once the steps of a plan are taken.
func (w *world) settled(next time.Time) {
	if w.s.RetiredAt == nil && w.find(Standby) == nil {
		w.Errorf("%v: no standby", w.now)
	}
	if w.Ticks%8 != 0 { // the rest is slow with many keys
		return
	}
	var first time.Time
	for _, k := range w.keys {
		if at := w.s.NextTransition(w.now, k, w.keys); at != nil {
			first = earliestOf(first, *at)
		}
	}
	if !first.Equal(next) {
		w.Errorf("%v: the keys say that one moves at %v, the plan says %v", w.now, first, next)
	}
}

// cap checks max_published_keys: over it only where somebody's act led there.
func (w *world) cap(before int) {
	n := w.published()
	if n <= w.s.MaxPublishedKeys {
		w.excuse = 0
	}
	if n > max(w.s.MaxPublishedKeys, w.excuse) {
		w.Errorf("%v: %d keys published, before %d, of %d allowed (%d by act)", w.now, n, before, w.s.MaxPublishedKeys, w.excuse)
	}
}

// quiet checks that nothing becomes due before until, the next of a plan whose
// steps were taken.
func (w *world) quiet(until time.Time) {
	gap := until.Sub(w.now)
	if gap <= 0 || w.lost {
		return
	}
	at := w.now.Add(time.Duration(w.Int64N(int64(gap))))
	if steps, _ := Plan(at, w.s, w.keys); len(steps) != 0 {
		w.Errorf("%v: at %v, before next, there is %v to do", w.now, at, steps)
	}
}

func (w *world) published() (n int) {
	for _, k := range w.keys {
		if k.State.Published() {
			n++
		}
	}
	return n
}

func (w *world) find(s State) *Key {
	for i := range w.keys {
		if w.keys[i].State == s {
			return &w.keys[i]
		}
	}
	return nil
}

func (w *world) key(kid string) *Key {
	for i := range w.keys {
		if w.keys[i].KID == kid {
			return &w.keys[i]
		}
	}
	w.Fatalf("no key %q", kid)
	return nil
}

// invariants holds between any two steps.
func (w *world) invariants() {
	count := map[State]int{}
	for _, k := range w.keys {
		count[k.State]++
	}
	if count[Active] > 1 || count[Standby] > 1 {
		w.Errorf("%v: %v", w.now, count)
	}
	if count[Active] == 0 && w.s.RetiredAt == nil {
		w.Errorf("%v: no active key", w.now)
	}
}

func (w *world) newKID() string {
	w.born++
	return fmt.Sprintf("k%d", w.born)
}
