package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// fault is something that can go wrong.
type fault struct {
	name  string
	on    string     // replica, worker, or everybody
	holds [2]float64 // seconds for which it stays, from and to
	// inject does the harm and returns how to end it. The context ends with the
	// campaign.
	inject func(ctx context.Context, c *campaign, p *process) (lift func() error, err error)
	clock  bool   // it needs a program whose clock can be moved
	disk   bool   // it needs a file system that can be filled
	needs  string // what it needs besides: pooler, standby, previous (a program to upgrade from)
}

// faults are all that the campaign knows.
var faults = []fault{
	{name: "process killed", on: "replica", holds: [2]float64{0.2, 3}, inject: killProcess},
	{name: "process stopped for a moment", on: "replica", holds: [2]float64{0.5, 2}, inject: stopProcess},
	{name: "process stopped for long", on: "replica", holds: [2]float64{8, 18}, inject: stopProcess},
	{name: "process restarted", on: "replica", holds: [2]float64{0, 1}, inject: restartProcess},
	{name: "process started while PostgreSQL is away", on: "replica", holds: [2]float64{4, 10}, inject: startDuring(stopPostgres(syscall.SIGINT))},
	{name: "process started while PostgreSQL is frozen", on: "replica", holds: [2]float64{6, 12}, inject: startDuring(freezePostgres)},
	{name: "worker started while PostgreSQL is frozen", on: "worker", holds: [2]float64{6, 12}, inject: startDuring(freezePostgres)},
	{name: "worker killed", on: "worker", holds: [2]float64{0.2, 3}, inject: killProcess},
	{name: "worker stopped for long", on: "worker", holds: [2]float64{8, 18}, inject: stopProcess},
	{name: "all processes stopped at once", on: "everybody", holds: [2]float64{10.5, 14}, inject: stopAll},
	{name: "process stopped before its COMMIT", on: "replica", holds: [2]float64{12, 18}, inject: stopBeforeCommit},
	{name: "worker stopped before its COMMIT", on: "worker", holds: [2]float64{12, 18}, inject: stopBeforeCommit},
	{name: "PostgreSQL killed", on: "everybody", holds: [2]float64{0.5, 4}, inject: stopPostgres(syscall.SIGKILL)},
	{name: "PostgreSQL crashed (SIGQUIT)", on: "everybody", holds: [2]float64{0.5, 4}, inject: stopPostgres(syscall.SIGQUIT)},
	{name: "PostgreSQL restarted", on: "everybody", holds: [2]float64{0, 2}, inject: stopPostgres(syscall.SIGINT)},
	{name: "PostgreSQL away for long", on: "everybody", holds: [2]float64{12, 20}, inject: stopPostgres(syscall.SIGINT)},
	{name: "PostgreSQL frozen for a moment", on: "everybody", holds: [2]float64{1, 4}, inject: freezePostgres},
	{name: "PostgreSQL frozen for long", on: "everybody", holds: [2]float64{12, 20}, inject: freezePostgres},
	{name: "PostgreSQL read-only", on: "everybody", holds: [2]float64{3, 8}, inject: readOnly},
	{name: "disk full", on: "everybody", holds: [2]float64{4, 10}, inject: fillDisk, disk: true},
	{name: "table keys locked", on: "everybody", holds: [2]float64{5, 14}, inject: lockBy("LOCK TABLE keys IN ACCESS EXCLUSIVE MODE")},
	{name: "one tenant's row locked", on: "everybody", holds: [2]float64{5, 14}, inject: lockBy("SELECT 1 FROM tenants WHERE slug = 'hand-0' FOR UPDATE")},
	{name: "leases locked", on: "everybody", holds: [2]float64{5, 14}, inject: lockBy("LOCK TABLE leases IN ACCESS EXCLUSIVE MODE")},
	{name: "connections used up", on: "everybody", holds: [2]float64{3, 8}, inject: useUpConnections},
	{name: "LISTEN connections cut", on: "everybody", holds: [2]float64{0, 1}, inject: terminate(`query ILIKE 'listen%' OR query LIKE '%pg_current_wal%'`)},
	{name: "all sessions of PostgreSQL cut", on: "everybody", holds: [2]float64{0, 1}, inject: terminate(`true`)},
	{name: "network slow", on: "replica", holds: [2]float64{4, 10}, inject: poison("latency", map[string]any{"latency": 250, "jitter": 150})},
	{name: "network half-open", on: "replica", holds: [2]float64{12, 20}, inject: poison("timeout", map[string]any{"timeout": 0})},
	{name: "network half-open", on: "everybody", holds: [2]float64{12, 20}, inject: poison("timeout", map[string]any{"timeout": 0})},
	{name: "connections reset", on: "replica", holds: [2]float64{2, 6}, inject: poison("reset_peer", map[string]any{"timeout": 20})},
	{name: "connections reset", on: "everybody", holds: [2]float64{1, 3}, inject: poison("reset_peer", map[string]any{"timeout": 50})},
	{name: "network thin", on: "replica", holds: [2]float64{4, 10}, inject: poison("bandwidth", map[string]any{"rate": 4})},
	{name: "cut off from PostgreSQL", on: "replica", holds: [2]float64{12, 20}, inject: cutOff},
	{name: "COMMIT answered, answer lost", on: "replica", holds: [2]float64{2, 5}, inject: loseCommits},
	{name: "COMMIT answered, answer lost", on: "worker", holds: [2]float64{2, 5}, inject: loseCommits},
	{name: "COMMIT held back 7 s", on: "replica", holds: [2]float64{5, 9}, inject: holdCommits},
	{name: "COMMIT held back 7 s", on: "worker", holds: [2]float64{5, 9}, inject: holdCommits},
	{name: "pooler killed", on: "pooler", holds: [2]float64{0.5, 3}, inject: killPooler, needs: "pooler"},
	{name: "pooler stopped for long", on: "pooler", holds: [2]float64{12, 20}, inject: stopPooler, needs: "pooler"},
	{name: "standby lags", on: "standby", holds: [2]float64{12, 20}, inject: lagStandby, needs: "standby"},
	{name: "standby frozen", on: "standby", holds: [2]float64{5, 10}, inject: freezeStandby, needs: "standby"},
	{name: "standby killed", on: "standby", holds: [2]float64{2, 6}, inject: killStandby, needs: "standby"},
	{name: "standby cut off", on: "standby", holds: [2]float64{4, 10}, inject: cutStandby, needs: "standby"},
	{name: "standby half-open", on: "standby", holds: [2]float64{12, 20}, inject: halfOpenStandby, needs: "standby"},
	{name: "standby promoted", on: "standby", holds: [2]float64{10, 15}, inject: promoteStandby, needs: "standby"},
	{name: upgradeName, on: "everybody", holds: [2]float64{5, 10}, inject: upgrade, needs: "previous"},
	{name: "clock 1 h fast", on: "replica", holds: [2]float64{15, 20}, inject: moveClock(time.Hour), clock: true},
	{name: "clock 1 h slow", on: "replica", holds: [2]float64{15, 20}, inject: moveClock(-time.Hour), clock: true},
	{name: "clock 30 s fast", on: "replica", holds: [2]float64{15, 20}, inject: moveClock(30 * time.Second), clock: true},
	{name: "clock 1 h fast", on: "worker", holds: [2]float64{15, 20}, inject: moveClock(time.Hour), clock: true},
	{name: "clock 60 s slow, then cut off from PostgreSQL", on: "replica", holds: [2]float64{22, 30}, inject: slowAndCutOff, clock: true},
}

// upgradeName is the fault that comes once, before all others.
const upgradeName = "schema migrated while the previous program serves, then all processes replaced"

// planned is a fault with all that chance decides about it.
type planned struct {
	fault
	target int
	hold   time.Duration
}

// schedule yields faults in an order that follows from the seed: every fault
// once, in random order, then every fault once again, and so on. Now and then
// two come together. Faults of clocks come last: the wrong times that they may
// leave behind for good would be found again after every later fault.
type schedule struct {
	random  *rand.Rand
	options options
	clocks  bool           // clocks can be moved
	disk    bool           // the disk can be filled
	lacks   []string       // what faults may need and the campaign has not
	left    map[bool][]int // of this round, those of clocks and the others
}

func newSchedule(o options, clocks, disk bool, lacks ...string) *schedule {
	return &schedule{random: rand.New(rand.NewPCG(o.seed, 1)), options: o, clocks: clocks, disk: disk, lacks: lacks, left: map[bool][]int{}}
}

// next returns one fault, or two that begin one after the other; none if all
// are excluded. late says that the time for clocks has come.
func (s *schedule) next(late bool) []planned {
	first, ok := s.draw(late)
	if !ok {
		return nil
	}
	plan := []planned{first}
	if s.random.IntN(6) == 0 {
		if second, ok := s.draw(false); ok && second.name != first.name {
			plan = append(plan, second)
		}
	}
	return plan
}

func (s *schedule) draw(late bool) (p planned, ok bool) {
	for _, clock := range []bool{late, !late} { // the other kind if there is none of this
		if len(s.left[clock]) == 0 {
			s.left[clock] = s.round(clock)
		}
		if left := s.left[clock]; len(left) > 0 {
			f := faults[left[0]]
			s.left[clock] = left[1:]
			seconds := f.holds[0] + s.random.Float64()*(f.holds[1]-f.holds[0])
			return planned{f, s.random.IntN(1000), time.Duration(seconds * float64(time.Second))}, true
		}
	}
	return p, false
}

// round is a new round of all faults of clocks, or of all others.
func (s *schedule) round(clock bool) (indices []int) {
	for i, f := range faults {
		if f.clock == clock && s.options.wanted(f.name) && (s.clocks || !f.clock) && (s.disk || !f.disk) && !slices.Contains(s.lacks, f.needs) {
			indices = append(indices, i)
		}
	}
	s.random.Shuffle(len(indices), func(i, j int) { indices[i], indices[j] = indices[j], indices[i] })
	first := slices.IndexFunc(indices, func(i int) bool { return faults[i].name == upgradeName })
	if first > 0 {
		indices[0], indices[first] = indices[first], indices[0]
	}
	return indices
}

// process is the target of the fault; nil: every process.
func (p planned) process(c *campaign) *process {
	switch p.on {
	case "replica":
		return c.replicas[p.target%len(c.replicas)]
	case "worker":
		return c.workers[p.target%len(c.workers)]
	}
	return nil
}

// strike injects the planned fault, holds it, ends it, and waits until every
// replica serves again.
func (c *campaign) strike(ctx context.Context, plan []planned) error {
	var lifts []func() error
	var runs []*faultRun
	hold := time.Duration(0)
	for i, p := range plan {
		target, on := p.process(c), p.on
		if target != nil {
			on = target.name
		}
		run := c.record.enter(p.name, on)
		lift, err := p.inject(ctx, c, target)
		if err != nil {
			c.record.forget(run)
			c.record.say("%s on %s could not be injected: %v", p.name, on, err)
			continue
		}
		c.record.say("%s on %s for %.1f s", p.name, on, p.hold.Seconds())
		lifts, runs = append(lifts, lift), append(runs, run)
		hold = max(hold, p.hold)
		if i < len(plan)-1 {
			_ = pause(ctx, time.Second)
		}
	}
	_ = pause(ctx, hold)
	for _, lift := range slices.Backward(lifts) {
		if err := lift(); err != nil {
			return fmt.Errorf("the fault could not be ended: %w", err)
		}
	}
	took := c.recover(ctx)
	c.lateness(ctx)
	for _, run := range runs {
		c.record.leave(run, took)
	}
	return ctx.Err()
}

const recoveryBound = 30 * time.Second

// recover waits until every replica is ready and signs. One that does not
// recover is restarted, so that the campaign goes on.
func (c *campaign) recover(ctx context.Context) time.Duration {
	begun := time.Now()
	for _, p := range c.replicas {
		c.record.check(recovers, 1)
		var last error
		err := until(ctx, recoveryBound+c.record.machineDelay(begun, time.Now()), func() error {
			if last = c.ready(ctx, p); last == nil {
				last = c.signs(ctx, p)
			}
			return last
		})
		if err == nil || ctx.Err() != nil {
			continue
		}
		c.record.broke(recovers, "%s does not serve again: %v; its last lines: %s", p.name, err, lastLines(p.logFile, 3))
		back := p.away()
		p.end(syscall.SIGKILL, time.Second)
		if err := p.start(); err == nil {
			_ = until(ctx, recoveryBound, func() error { return c.ready(ctx, p) })
		}
		back()
	}
	return time.Since(begun)
}

// signs asks a replica for a token that is not counted.
func (c *campaign) signs(ctx context.Context, p *process) error {
	a := answer{replica: p.replica, id: "recovery", began: time.Now()}
	a.send(ctx, c, p, request{method: "POST", path: c.tenants[0].path() + "/tokens", body: map[string]any{"claims": map[string]any{}}})
	a.ended = time.Now()
	if !a.ok() {
		return errors.New(a.said())
	}
	return nil
}
