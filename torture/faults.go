package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// fault is something that can go wrong.
type fault struct {
	name  string
	on    string     // replica, worker, or everybody
	holds [2]float64 // seconds for which it stays, from and to
	// inject does the harm and returns how to end it. The context ends with the
	// campaign.
	inject func(ctx context.Context, c *campaign, p *process) (lift func() error, err error)
	clock  bool // it needs a program whose clock can be moved
	disk   bool // it needs a file system that can be filled
}

// faults are all that the campaign knows.
var faults = []fault{
	{name: "process killed", on: "replica", holds: [2]float64{0.2, 3}, inject: killProcess},
	{name: "process stopped for a moment", on: "replica", holds: [2]float64{0.5, 2}, inject: stopProcess},
	{name: "process stopped for long", on: "replica", holds: [2]float64{8, 18}, inject: stopProcess},
	{name: "process restarted", on: "replica", holds: [2]float64{0, 1}, inject: restartProcess},
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
	{name: "clock 1 h fast", on: "replica", holds: [2]float64{15, 20}, inject: moveClock(time.Hour), clock: true},
	{name: "clock 1 h slow", on: "replica", holds: [2]float64{15, 20}, inject: moveClock(-time.Hour), clock: true},
	{name: "clock 30 s fast", on: "replica", holds: [2]float64{15, 20}, inject: moveClock(30 * time.Second), clock: true},
	{name: "clock 1 h fast", on: "worker", holds: [2]float64{15, 20}, inject: moveClock(time.Hour), clock: true},
	{name: "clock 60 s slow, then cut off from PostgreSQL", on: "replica", holds: [2]float64{22, 30}, inject: slowAndCutOff, clock: true},
}

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
	left    map[bool][]int // of this round, those of clocks and the others
}

func newSchedule(o options, clocks, disk bool) *schedule {
	return &schedule{random: rand.New(rand.NewPCG(o.seed, 1)), options: o, clocks: clocks, disk: disk, left: map[bool][]int{}}
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
		if f.clock == clock && s.options.wanted(f.name) && (s.clocks || !f.clock) && (s.disk || !f.disk) {
			indices = append(indices, i)
		}
	}
	s.random.Shuffle(len(indices), func(i, j int) { indices[i], indices[j] = indices[j], indices[i] })
	return indices
}

// process is the one that is hit; nil: everybody is.
func (p planned) process(c *campaign) *process {
	switch p.on {
	case "replica":
		return c.replicas[p.target%len(c.replicas)]
	case "worker":
		return c.workers[p.target%len(c.workers)]
	}
	return nil
}

func killProcess(_ context.Context, _ *campaign, p *process) (func() error, error) {
	back := p.away()
	p.end(syscall.SIGKILL, time.Second)
	return func() error { defer back(); return p.start() }, nil
}

func stopProcess(_ context.Context, _ *campaign, p *process) (func() error, error) {
	back := p.away()
	p.signal(syscall.SIGSTOP)
	return func() error { p.signal(syscall.SIGCONT); back(); return nil }, nil
}

// stopAll stops all processes and lets them go on at the same moment.
func stopAll(_ context.Context, c *campaign, _ *process) (func() error, error) {
	var backs []func()
	for _, p := range c.processes {
		backs = append(backs, p.away())
		p.signal(syscall.SIGSTOP)
	}
	return func() error {
		for _, p := range c.processes {
			p.signal(syscall.SIGCONT)
		}
		for _, back := range backs {
			back()
		}
		return nil
	}, nil
}

// stopBeforeCommit stops a process when it has sent a COMMIT that does not get
// to PostgreSQL: the transaction stays open, with all of its locks.
func stopBeforeCommit(_ context.Context, _ *campaign, p *process) (func() error, error) {
	var mu sync.Mutex
	var back func()
	stop := func() {
		mu.Lock()
		defer mu.Unlock()
		if back == nil {
			back = p.away()
			p.signal(syscall.SIGSTOP)
		}
	}
	p.way.commits.onHold.Store(&stop)
	p.way.commits.hold.Store(int64(time.Minute))
	return func() error {
		p.way.commits.onHold.Store(nil)
		p.way.commits.hold.Store(0)
		mu.Lock()
		defer mu.Unlock()
		if back != nil {
			p.signal(syscall.SIGCONT)
			back()
		}
		return nil
	}, nil
}

func restartProcess(_ context.Context, c *campaign, p *process) (func() error, error) {
	back := p.away()
	begun := time.Now()
	c.record.check(endsInOrder, 1)
	if p.end(syscall.SIGTERM, 40*time.Second) || time.Since(begun) > 35*time.Second {
		c.record.broke(endsInOrder, "%s had not ended %v after SIGTERM", p.name, time.Since(begun).Round(time.Second))
	}
	c.record.measure("a process took to end after SIGTERM, at most", begun, time.Since(begun))
	return func() error { defer back(); return p.start() }, nil
}

func stopPostgres(sig syscall.Signal) func(context.Context, *campaign, *process) (func() error, error) {
	return func(_ context.Context, c *campaign, _ *process) (func() error, error) {
		c.postgres.stop(sig)
		return func() error { return c.postgres.start(context.Background()) }, nil
	}
}

func freezePostgres(_ context.Context, c *campaign, _ *process) (func() error, error) {
	thaw, err := c.postgres.freeze()
	return func() error { thaw(); return nil }, err
}

func readOnly(ctx context.Context, c *campaign, _ *process) (func() error, error) {
	if err := c.postgres.admin(ctx, "ALTER SYSTEM SET default_transaction_read_only = on"); err != nil {
		return nil, err
	}
	c.postgres.reload()
	return func() error {
		err := c.postgres.admin(context.Background(), "ALTER SYSTEM RESET default_transaction_read_only")
		c.postgres.reload()
		return err
	}, nil
}

func fillDisk(_ context.Context, c *campaign, _ *process) (func() error, error) {
	return c.postgres.fill()
}

// lockBy lets a foreign session hold a lock.
func lockBy(statement string) func(context.Context, *campaign, *process) (func() error, error) {
	return func(ctx context.Context, c *campaign, _ *process) (func() error, error) {
		conn, err := c.postgres.connect(ctx, "postgres", "keyward")
		if err != nil {
			return nil, err
		}
		for _, s := range []string{"BEGIN", "SET LOCAL lock_timeout = '5s'", statement} {
			if _, err := conn.Exec(ctx, s); err != nil {
				return nil, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
			}
		}
		return func() error { return conn.Close(context.Background()) }, nil
	}
}

// useUpConnections takes every connection that a login may have, and then ends
// those of Keyward, so that it needs new ones.
func useUpConnections(ctx context.Context, c *campaign, _ *process) (func() error, error) {
	var conns []*pgx.Conn
	free := func() error {
		for _, conn := range conns {
			_ = conn.Close(context.Background()) // the session may be gone
		}
		return nil
	}
	take := func() {
		for len(conns) < 200 {
			conn, err := c.postgres.connect(ctx, "keyward", "keyward")
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}
	take()
	if _, err := terminate("application_name <> 'torture'")(ctx, c, nil); err != nil {
		return nil, errors.Join(err, free())
	}
	for range 5 { // Keyward may be faster with some
		take()
	}
	return free, nil
}

// terminate ends sessions of Keyward.
func terminate(which string) func(context.Context, *campaign, *process) (func() error, error) {
	return func(ctx context.Context, c *campaign, _ *process) (func() error, error) {
		err := c.postgres.admin(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = 'keyward' AND application_name <> 'torture' AND (`+which+`)`)
		return func() error { return nil }, err
	}
}

// hit are the processes that a fault on a process or on everybody concerns.
func (c *campaign) hit(p *process) []*process {
	if p == nil {
		return c.processes
	}
	return []*process{p}
}

func poison(kind string, attributes map[string]any) func(context.Context, *campaign, *process) (func() error, error) {
	return func(_ context.Context, c *campaign, p *process) (func() error, error) {
		var cures []func() error
		lift := func() error {
			var errs []error
			for _, cure := range cures {
				errs = append(errs, cure())
			}
			return errors.Join(errs...)
		}
		for _, each := range c.hit(p) {
			cure, err := each.way.poison(kind, attributes)
			if err != nil {
				return nil, errors.Join(err, lift())
			}
			cures = append(cures, cure)
		}
		return lift, nil
	}
}

func cutOff(_ context.Context, _ *campaign, p *process) (func() error, error) {
	join := p.way.cut()
	return func() error { join(); return nil }, nil
}

func loseCommits(_ context.Context, _ *campaign, p *process) (func() error, error) {
	p.way.commits.lose.Store(true)
	return func() error { p.way.commits.lose.Store(false); return nil }, nil
}

func holdCommits(_ context.Context, _ *campaign, p *process) (func() error, error) {
	p.way.commits.hold.Store(int64(7 * time.Second))
	return func() error { p.way.commits.hold.Store(0); return nil }, nil
}

func moveClock(offset time.Duration) func(context.Context, *campaign, *process) (func() error, error) {
	return func(ctx context.Context, c *campaign, p *process) (func() error, error) {
		back, err := c.clocks.move(p, offset)
		if err != nil {
			return nil, err
		}
		timer := time.AfterFunc(noticed+time.Second, func() {
			if p.replica < 0 || ctx.Err() != nil {
				return
			}
			c.record.check(clocksHeld, 1)
			if c.ready(ctx, p) == nil && ctx.Err() == nil {
				c.record.broke(clocksHeld, "/readyz of %s answers 200 although its clock is off by %v since %v", p.name, offset, noticed+time.Second)
			}
		})
		return func() error { timer.Stop(); return back() }, nil
	}
}

func slowAndCutOff(ctx context.Context, c *campaign, p *process) (func() error, error) {
	back, err := c.clocks.move(p, -time.Minute)
	if err != nil {
		return nil, err
	}
	join := p.way.cut()
	return func() error { join(); return back() }, nil
}

// strike injects what is planned, holds it, ends it, and waits until every
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

// signs asks a replica for a token, apart from what is counted.
func (c *campaign) signs(ctx context.Context, p *process) error {
	a := answer{replica: p.replica, id: "recovery", began: time.Now()}
	a.send(ctx, c, p, request{method: "POST", path: c.tenants[0].path() + "/tokens", body: map[string]any{"claims": map[string]any{}}})
	a.ended = time.Now()
	if !a.ok() {
		return errors.New(a.said())
	}
	return nil
}
