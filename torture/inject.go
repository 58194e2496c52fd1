package main

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Each function here does the harm of a fault to a process, or to everybody where
// that is nil, and returns how to end it.

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

// startDuring kills a process, does a harm to PostgreSQL, and starts the process while that
// lasts.
func startDuring(harm func(context.Context, *campaign, *process) (func() error, error)) func(context.Context, *campaign, *process) (func() error, error) {
	return func(ctx context.Context, c *campaign, p *process) (func() error, error) {
		back := p.away()
		p.end(syscall.SIGKILL, time.Second)
		lift, err := harm(ctx, c, nil)
		started := p.start()
		if err != nil {
			back()
			return nil, errors.Join(err, started)
		}
		return func() error { defer back(); return errors.Join(lift(), started) }, nil
	}
}

func stopPostgres(sig syscall.Signal) func(context.Context, *campaign, *process) (func() error, error) {
	return func(_ context.Context, c *campaign, _ *process) (func() error, error) {
		c.postgres.stop(sig)
		return func() error { return c.postgres.start(context.Background()) }, nil
	}
}

func freezePostgres(_ context.Context, c *campaign, _ *process) (func() error, error) {
	began := time.Now()
	thaw, err := c.postgres.freeze()
	return func() error { thaw(); c.frozen = append(c.frozen, span{began, time.Now()}); return nil }, err
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
