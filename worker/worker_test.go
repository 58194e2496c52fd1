package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// short is a lease lifetime that expires soon and is still renewed on a busy
// machine.
const short = 3 * time.Second

// patience is the timeout for expected events on a slow machine.
const patience = 30 * time.Second

func open(t *testing.T, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// run starts a worker, which ends with the test. ended is closed when Run has
// returned.
func run(t *testing.T, cfg Config) (w *Worker, stop func(), ended <-chan struct{}) {
	t.Helper()
	if cfg.TTL == 0 {
		cfg.TTL = short
	}
	ctx, cancel := context.WithCancel(context.Background())
	w = New(cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); await(t, done) })
	return w, cancel, done
}

func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("waited too long")
	}
	return v
}

// never returns the next pass of a worker with nothing planned.
var never time.Time

// signal returns a pass that reports each call.
func signal(c chan<- time.Time, next func() time.Time) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		select {
		case c <- time.Now():
		case <-ctx.Done():
		}
		return next(), nil
	}
}

func nothing() time.Time { return never }

func TestOneLeads(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	var running, most atomic.Int32
	passes := make(chan string)
	for _, holder := range []string{"a", "b", "c"} {
		run(t, Config{DB: open(t, url), Holder: holder, Run: func(ctx context.Context) (time.Time, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			select {
			case passes <- holder:
			case <-ctx.Done():
			}
			return time.Now(), nil // more is due at once
		}})
	}
	first := await(t, passes)
	for end := time.Now().Add(short); time.Now().Before(end); { // longer than the lifetime: the lease is renewed
		if holder := await(t, passes); holder != first {
			t.Fatalf("%s leads beside %s", holder, first)
		}
	}
	if most.Load() != 1 {
		t.Errorf("%d passes at once", most.Load())
	}
}

// The successor of a dead process waits for the lease to expire, and leads with
// a higher term.
func TestSuccessorOfTheDead(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	theirs, passes := open(t, url), make(chan time.Time)
	dead, _, _ := run(t, Config{DB: theirs, Holder: "dead", Run: signal(passes, nothing)})
	await(t, passes)
	theirs.Close() // as dead: it can neither renew nor release
	until := dead.lease.trusted()
	heirs := make(chan time.Time)
	heir, _, _ := run(t, Config{DB: open(t, url), Holder: "heir", Run: signal(heirs, nothing)})
	if at := await(t, heirs); at.Before(until) {
		t.Errorf("the heir began %v before the dead had lost the lease", until.Sub(at))
	}
	if dead.Leader() || !heir.Leader() {
		t.Errorf("Leader: dead %t, heir %t", dead.Leader(), heir.Leader())
	}
	if was, is := dead.Status().Term, heir.Status().Term; is <= was {
		t.Errorf("term %d after %d", is, was)
	}
}

func TestHealsWhenPostgresComesBack(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t)
	d, passes := open(t, server.DSN()), make(chan time.Time)
	run(t, Config{DB: d, Holder: "one", Idle: time.Millisecond, Run: func(ctx context.Context) (time.Time, error) {
		if err := d.Ping(ctx); err != nil {
			return never, err
		}
		return signal(passes, nothing)(ctx)
	}})
	await(t, passes)
	server.Stop()
	server.Start()
	began := time.Now()
	for await(t, passes).Before(began) {
	}
}

func TestGivenBack(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	passes := make(chan time.Time)
	_, stop, ended := run(t, Config{DB: open(t, url), Holder: "first", TTL: time.Hour, Run: signal(passes, nothing)})
	await(t, passes)
	stop()
	await(t, ended)
	run(t, Config{DB: open(t, url), Holder: "second", TTL: time.Hour, Run: signal(passes, nothing)})
	await(t, passes) // in less than an hour
}

func TestStolenLeaseStopsThePass(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	stopped := make(chan struct{}, 1)
	began := make(chan struct{}, 1)
	w, _, _ := run(t, Config{DB: open(t, url), Holder: "robbed", Run: func(ctx context.Context) (time.Time, error) {
		began <- struct{}{}
		<-ctx.Done()
		stopped <- struct{}{}
		return never, ctx.Err()
	}})
	await(t, began)
	dbtest.Exec(t, url, "UPDATE leases SET holder = 'thief', term = term + 1, expires_at = now() + interval '1 hour'")
	await(t, stopped)
	if w.Leader() {
		t.Error("Leader after the lease was stolen")
	}
}

func TestPassStopsWhenTheLeaseCannotBeRenewed(t *testing.T) {
	t.Parallel()
	d := open(t, dbtest.New(t))
	began, stopped := make(chan struct{}, 1), make(chan struct{}, 1)
	w, _, _ := run(t, Config{DB: d, Holder: "cut off", Run: func(ctx context.Context) (time.Time, error) {
		began <- struct{}{}
		<-ctx.Done()
		stopped <- struct{}{}
		return never, ctx.Err()
	}})
	await(t, began)
	d.Close()
	await(t, stopped)
	if w.Leader() {
		t.Error("Leader without a lease")
	}
}

// A worker whose clock is wrong can change nothing, so it does not lead; one whose clock
// goes wrong while it leads makes way for another.
func TestWrongClockDoesNotLead(t *testing.T) {
	url := dbtest.New(t)
	var ahead atomic.Int64
	ahead.Store(int64(time.Hour))
	d, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: 4, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	wrong, right := &lease{db: d, holder: "wrong", ttl: time.Hour}, &lease{db: open(t, url), holder: "right", ttl: time.Hour}
	if held, err := wrong.acquire(t.Context()); held || !errors.Is(err, db.ErrClock) {
		t.Errorf("acquired with a wrong clock: %t, %v", held, err)
	}
	ahead.Store(0)
	if held, err := wrong.acquire(t.Context()); !held {
		t.Fatalf("not acquired with the right clock: %v", err)
	}
	ahead.Store(-int64(time.Minute))
	if err := wrong.renew(t.Context()); !errors.Is(err, db.ErrClock) {
		t.Errorf("renewed with a wrong clock: %v", err)
	}
	if err := wrong.release(t.Context()); err != nil {
		t.Errorf("not released: %v", err)
	}
	if held, err := right.acquire(t.Context()); !held {
		t.Errorf("no other may lead: %v", err)
	}
}

func TestWake(t *testing.T) {
	t.Parallel()
	passes := make(chan time.Time)
	w, _, _ := run(t, Config{DB: open(t, dbtest.New(t)), Idle: time.Hour, Run: signal(passes, nothing)})
	await(t, passes)
	w.Wake()
	await(t, passes) // in less than an hour
}

func TestBurstOfWakes(t *testing.T) {
	t.Parallel()
	passes := make(chan time.Time)
	w, _, _ := run(t, Config{DB: open(t, dbtest.New(t)), Idle: time.Hour, Run: signal(passes, nothing)})
	last := await(t, passes)
	for range 3 {
		w.Wake()
		at := await(t, passes)
		if at.Sub(last) < minPassInterval/2 { // the signal comes shortly after the pass began
			t.Errorf("a pass only %v after the one before", at.Sub(last))
		}
		last = at
	}
}

func TestSleepsUntilDue(t *testing.T) {
	t.Parallel()
	passes, due := make(chan time.Time), make(chan time.Time, 2)
	run(t, Config{DB: open(t, dbtest.New(t)), Idle: time.Hour, Run: signal(passes, func() time.Time {
		next := time.Now().Add(200 * time.Millisecond)
		due <- next
		return next
	})})
	await(t, passes)
	want := await(t, due)
	if at := await(t, passes); at.Before(want) {
		t.Errorf("the pass came %v before it was due", want.Sub(at))
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	passes := make(chan time.Time)
	run(t, Config{DB: open(t, dbtest.New(t)), Idle: 10 * time.Millisecond, Run: signal(passes, nothing)})
	for range 3 {
		await(t, passes)
	}
}

func TestPassInHandIsFinished(t *testing.T) {
	t.Parallel()
	began, finish := make(chan struct{}), make(chan struct{})
	var result error
	_, stop, ended := run(t, Config{DB: open(t, dbtest.New(t)), TTL: time.Hour, Run: func(ctx context.Context) (time.Time, error) {
		began <- struct{}{}
		<-finish
		result = ctx.Err()
		return never, nil
	}})
	await(t, began)
	stop()
	select {
	case <-ended:
		t.Error("Run returned before the pass did")
	default:
	}
	close(finish)
	await(t, ended)
	if result != nil {
		t.Errorf("the pass in hand was told %v", result)
	}
}

func TestFailuresAndPanics(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	passes := make(chan int, 8)
	n := 0
	w, _, _ := run(t, Config{
		DB: open(t, dbtest.New(t)), Log: slog.New(slog.NewTextHandler(&log, nil)),
		Run: func(context.Context) (time.Time, error) {
			n++
			passes <- n
			switch n {
			case 1:
				return never, errors.New("the first goes wrong")
			case 2:
				panic("hunter2")
			}
			return never, nil
		},
	})
	for n := range 3 {
		if got := await(t, passes); got != n+1 {
			t.Fatalf("pass %d, want %d", got, n+1)
		}
	}
	if s := w.Status(); s.Failures != 2 || s.Panics != 1 {
		t.Errorf("Status = %+v, want 2 failures, 1 panic", s)
	}
	text := log.String()
	if strings.Contains(text, "hunter2") || !strings.Contains(text, "TestFailuresAndPanics") {
		t.Errorf("log of a panic: %s", text)
	}
}

func TestChores(t *testing.T) {
	t.Parallel()
	often, once := make(chan struct{}), make(chan struct{}, 2)
	run(t, Config{
		DB: open(t, dbtest.New(t)), Idle: time.Hour,
		Run: func(context.Context) (time.Time, error) { return never, nil },
		Every: []Chore{
			{Name: "fails", Interval: time.Hour, Run: func(context.Context) error { once <- struct{}{}; return errors.New("no") }},
			{Name: "often", Interval: time.Millisecond, Run: func(ctx context.Context) error {
				select {
				case often <- struct{}{}:
				case <-ctx.Done():
				}
				return nil
			}},
		},
	})
	for range 5 {
		await(t, often)
	}
	if await(t, once); len(once) != 0 {
		t.Error("a chore was done again before its time")
	}
}

// A chore that is apart runs again after it failed, holds up no pass, and ends with the worker.
func TestAChoreApartHoldsUpNoPass(t *testing.T) {
	t.Parallel()
	begun, passes, runs, ended := make(chan struct{}), make(chan time.Time), make(chan struct{}), make(chan error, 1)
	log := &lockedBuffer{}
	w, stop, done := run(t, Config{
		DB: open(t, dbtest.New(t)), Idle: time.Hour, Run: signal(passes, nothing), Log: slog.New(slog.NewTextHandler(log, nil)),
		Every: []Chore{
			{Name: "stuck", Interval: time.Hour, Apart: true, Run: func(ctx context.Context) error {
				close(begun)
				<-ctx.Done()
				ended <- ctx.Err()
				return ctx.Err()
			}},
			{Name: "fails", Interval: time.Millisecond, Apart: true, Run: func(ctx context.Context) error {
				select {
				case runs <- struct{}{}:
				case <-ctx.Done():
				}
				return errors.New("away")
			}},
		},
	})
	await(t, begun)
	for range 3 {
		w.Wake()
		await(t, passes)
		await(t, runs)
	}
	stop()
	await(t, done)
	if err := await(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the chore ended with %v", err)
	}
	if text := log.String(); strings.Contains(text, "chore=stuck") || !strings.Contains(text, "chore=fails") {
		t.Errorf("that a chore is cut off is no failure: %s", text)
	}
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// trusted returns the end of the trust in the lease.
func (l *lease) trusted() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}
