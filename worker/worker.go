// Package worker runs what is due, in one process at a time where it can.
//
// It guarantees that a pass is made as soon as one may be of use: at the time
// the last pass named, when woken, and now and then in case a call to wake was
// lost; that a failing pass neither ends the loop nor spins; and that a process
// which cannot prove that it still leads stops its pass at once.
//
// Leadership only saves work: two leaders, which a stopped clock can make, must
// do no harm. It trusts the pass to take care of that with row locks, and the
// clock of the database to tell when a lease has run out.
package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/keyward/keyward/db"
)

// Config says what a Worker runs and how.
type Config struct {
	DB     *db.DB
	Holder string // names this process among all that compete

	// Run makes one pass. It returns when the next is due: a time that has come
	// means that more is due at once, zero that nothing is planned.
	Run func(ctx context.Context) (next time.Time, err error)
	// Every is housekeeping that the leader does beside.
	Every []Chore

	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // nil: nobody is told
	TTL  time.Duration    // of the lease; 0: 15 s
	Idle time.Duration    // the longest sleep between passes; 0: 1 minute
}

// Chore is work that has no due time of its own: it is done when leadership
// begins and again each time Interval has passed.
type Chore struct {
	Name     string
	Interval time.Duration
	Run      func(ctx context.Context) error
}

// Status is what a Worker may be asked at any time.
type Status struct {
	Leader   bool
	Term     int64     // of the lease held, or held last; 0: never
	Next     time.Time // when the next pass is planned; zero: not leading
	Passes   int64     // that went well
	Failures int64     // passes and chores that returned an error or panicked
	Panics   int64
}

// Worker competes for the lease and does the work while it holds it.
type Worker struct {
	cfg   Config
	lease *lease
	wake  chan struct{} // holds one call

	mu     sync.Mutex
	status Status
}

// New returns a Worker that does nothing before Run.
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

// Wake asks for a pass now. It never blocks; several calls before the pass
// begins count as one. To a process that does not lead it means nothing.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Leader says whether this process holds the lease, as far as it can prove.
func (w *Worker) Leader() bool { return w.lease.isHeld() }

// Status says what the worker is doing and has done.
func (w *Worker) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.status
	s.Leader, s.Term = w.lease.isHeld(), w.lease.currentTerm()
	return s
}

// Run follows and leads by turns until ctx is over. Then the pass in hand is
// finished, for as long as the lease lasts that was had by then, and the lease
// is given back. It always returns nil.
func (w *Worker) Run(ctx context.Context) error {
	for w.follow(ctx) {
		w.lead(ctx)
	}
	return nil
}

// updateStatus changes the status.
func (w *Worker) updateStatus(change func(*Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.status)
}
