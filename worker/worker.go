// Package worker runs due work in one process at a time, as far as possible.
//
// Internal to Keyward: no compatibility promise.
//
// It guarantees that a pass runs at the time that the last pass returned, after
// each Wake, and periodically in case a Wake was lost; that a failing pass neither
// ends the loop nor spins; and that a process stops its pass as soon as it cannot
// be certain of its lease.
//
// Leadership only saves work: two leaders, possible with a stopped clock, must do
// no harm. The package relies on the row locks of the passes for that, and on the
// database's clock for the expiry of the lease.
package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/keyward/keyward/db"
)

// Config configures a Worker.
type Config struct {
	DB     *db.DB
	Holder string // identifies this process among the candidates

	// Run runs one pass. It returns the time of the next: a past time means at once,
	// zero that nothing is planned.
	Run func(ctx context.Context) (next time.Time, err error)
	// Every lists periodic chores of the leader.
	Every []Chore

	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // nil: no log
	TTL  time.Duration    // lifetime of the lease; 0: 15 s
	Idle time.Duration    // maximum time between passes; 0: 1 minute
}

// Chore is periodic work. It runs when leadership begins and then at each
// Interval.
type Chore struct {
	Name     string
	Interval time.Duration
	Run      func(ctx context.Context) error
	Apart    bool // in a goroutine of its own, so that passes do not wait for it
}

// Status is the state of a Worker.
type Status struct {
	Leader   bool
	Term     int64     // of the current or last lease; 0: never held
	Next     time.Time // time of the next pass; zero: not leading
	Passes   int64     // successful passes
	Failures int64     // failed passes and chores
	Panics   int64
}

// Worker competes for the lease, and runs passes while it holds it.
type Worker struct {
	cfg   Config
	lease *lease
	wake  chan struct{} // buffered, one request

	mu     sync.Mutex
	status Status
}

// New returns a Worker, which does nothing before Run.
func New(cfg Config) *Worker {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.TTL == 0 {
		cfg.TTL = 15 * time.Second
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	return &Worker{
		cfg: cfg, wake: make(chan struct{}, 1),
		lease: &lease{db: cfg.DB, holder: cfg.Holder, ttl: cfg.TTL},
	}
}

// Wake requests a pass now. It never blocks; calls before the pass begins are
// merged. Without the lease it has no effect.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Leader reports whether this process certainly holds the lease.
func (w *Worker) Leader() bool { return w.lease.isHeld() }

// Status returns the current state.
func (w *Worker) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.status
	s.Leader, s.Term = w.lease.isHeld(), w.lease.currentTerm()
	return s
}

// Run alternates between following and leading until ctx is done. Then it
// finishes the current pass, at most until the lease expires, and releases the
// lease. It always returns nil.
func (w *Worker) Run(ctx context.Context) error {
	for w.follow(ctx) {
		w.lead(ctx)
	}
	return nil
}

// updateStatus calls change with the status locked.
func (w *Worker) updateStatus(change func(*Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.status)
}
