package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keyward/keyward/db"
)

// LeaseName is the contended row of the table leases.
const LeaseName = "worker"

// errLost means that the lease has expired or belongs to another process.
var errLost = errors.New("worker: lease expired or held by another process")

// lease is temporary leadership. The database decides about its expiry with its
// own clock. This process trusts it until an earlier time: the start of the
// last request plus the lifetime, less a margin, on the monotonic clock.
type lease struct {
	db     *db.DB
	holder string
	ttl    time.Duration

	mu    sync.Mutex
	term  int64     // increases with every change of the holder
	until time.Time // end of the trust
}

// margin is the allowed drift between the two clocks in one lifetime.
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

// timeLeft returns how long the lease can still be trusted.
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

// acquire takes a free lease, with a new term. It returns false if another
// process holds it.
func (l *lease) acquire(ctx context.Context) (bool, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.ttl-l.margin())
	defer cancel()
	var term int64
	err := l.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		if err := tx.CheckClock(); err != nil {
			return err // it could change nothing, and would keep others from it
		}
		term, err = tx.AcquireLease(ctx, LeaseName, l.holder, l.ttl.Seconds())
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

// renew extends the lease under the same term. It returns errLost if the lease
// has expired, even if nobody acquired it since, or the error of the database.
func (l *lease) renew(ctx context.Context) error {
	began, term := time.Now(), l.currentTerm()
	ctx, cancel := context.WithTimeout(ctx, l.timeLeft())
	defer cancel()
	var rows int64
	err := l.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		if err := tx.CheckClock(); err != nil {
			return err
		}
		rows, err = tx.RenewLease(ctx, db.RenewLeaseParams{TTLSeconds: l.ttl.Seconds(), Name: LeaseName, Holder: l.holder, Term: term})
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

// release returns the lease, so that the next holder need not wait. It also
// works after ctx is done.
func (l *lease) release(ctx context.Context) error {
	l.forfeit()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(l.ttl, 5*time.Second))
	defer cancel()
	return l.db.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.ReleaseLease(ctx, LeaseName, l.holder, l.currentTerm())
		return err
	})
}

// forfeit stops trusting the lease.
func (l *lease) forfeit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Time{}
}
