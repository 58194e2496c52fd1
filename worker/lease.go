package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keyward/keyward/db"
)

// leaseName is the row of the table leases that processes compete for.
const leaseName = "worker"

// errLost means that the lease was not renewed because it is not ours any more.
var errLost = errors.New("worker: the lease has run out or has another holder")

// lease is leadership for a while. The database decides by its own clock when
// it has run out; this process trusts it until a moment that is certainly
// earlier: counted from before it asked, on the monotonic clock, less a margin
// for clocks that run at different speeds.
type lease struct {
	db     *db.DB
	holder string
	ttl    time.Duration

	mu    sync.Mutex
	term  int64     // grows with every change of the holder
	until time.Time // trusted until then
}

// margin is what the two clocks may differ by within one lifetime.
func (l *lease) margin() time.Duration { return l.ttl / 5 }

func (l *lease) isHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.until)
}

func (l *lease) currentTerm() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// timeLeft is how long the lease can be trusted from now on.
func (l *lease) timeLeft() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.until)
}

func (l *lease) setTerm(term int64, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term, l.until = term, began.Add(l.ttl-l.margin())
}

// acquire takes the lease if nobody has it, under a new term.
func (l *lease) acquire(ctx context.Context) (bool, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.ttl-l.margin())
	defer cancel()
	var term int64
	err := l.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		term, err = tx.AcquireLease(ctx, leaseName, l.holder, l.ttl.Seconds())
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.setTerm(term, began)
	return l.isHeld(), nil
}

// renew makes the lease last longer, under the same term: one that ran out is
// lost even if nobody else has had it since. Errors: errLost, or why the
// database could not be asked.
func (l *lease) renew(ctx context.Context) error {
	began, term := time.Now(), l.currentTerm()
	ctx, cancel := context.WithTimeout(ctx, l.timeLeft())
	defer cancel()
	var rows int64
	err := l.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		rows, err = tx.RenewLease(ctx, db.RenewLeaseParams{TTLSeconds: l.ttl.Seconds(), Name: leaseName, Holder: l.holder, Term: term})
		return err
	})
	if err != nil {
		return err
	}
	if rows == 0 {
		return errLost
	}
	l.setTerm(term, began)
	return nil
}

// release gives the lease back, so that the next holder need not wait. It
// works after ctx is over.
func (l *lease) release(ctx context.Context) error {
	l.forfeit()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(l.ttl, 5*time.Second))
	defer cancel()
	return l.db.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.ReleaseLease(ctx, leaseName, l.holder, l.currentTerm())
		return err
	})
}

// forfeit ends the trust.
func (l *lease) forfeit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Time{}
}
