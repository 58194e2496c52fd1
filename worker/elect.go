package worker

import (
	"context"
	"errors"
	"time"
)

// A worker is in one of two states:
//
//	          acquired
//	follow ──────────────► lead
//	       ◄──────────────
//	      lost, or ctx done

// follow tries to acquire the lease until it succeeds or ctx is done. It
// reports success.
func (w *Worker) follow(ctx context.Context) bool {
	var failed backoff
	for ctx.Err() == nil {
		won, err := w.lease.acquire(ctx)
		pause := w.cfg.TTL / 3
		switch {
		case won:
			w.cfg.Log.Info("leadership acquired", "holder", w.cfg.Holder, "term", w.lease.currentTerm())
			return true
		case err != nil && ctx.Err() == nil:
			pause = failed.next()
			w.cfg.Log.Warn("lease acquisition failed", "error", err, "retry_in", pause)
		default:
			failed.reset()
		}
		sleepContext(ctx, pause)
	}
	return false
}

// lead runs passes until the lease is lost or ctx is done. The context of a
// pass survives ctx, so that the current pass can finish, but never the lease.
func (w *Worker) lead(ctx context.Context) {
	leading, lose := context.WithCancel(context.WithoutCancel(ctx))
	defer lose()
	expiry := time.AfterFunc(w.lease.timeLeft(), lose)
	defer expiry.Stop()
	renewing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.renewLease(renewing, expiry, lose)
	}()
	endApart := w.startApart(ctx, leading)
	w.runPasses(ctx, leading)
	endApart()
	stop()
	<-done
	w.releaseLease(ctx)
}

// renewLease renews the lease three times in its lifetime, until ctx is done or
// the lease is lost. A lease that cannot be renewed in time expires by itself.
func (w *Worker) renewLease(ctx context.Context, expiry *time.Timer, lose func()) {
	pause := w.cfg.TTL / 3
	for sleepContext(ctx, pause) {
		err := w.lease.renew(ctx)
		switch {
		case err == nil:
			expiry.Reset(w.lease.timeLeft())
			pause = w.cfg.TTL / 3
		case ctx.Err() != nil:
			return
		case errors.Is(err, errLost) || !w.lease.isHeld():
			w.cfg.Log.Warn("leadership lost", "term", w.lease.currentTerm(), "error", err)
			w.lease.forfeit()
			lose()
			return
		default:
			w.cfg.Log.Warn("lease renewal failed", "error", err)
			pause = w.cfg.TTL / 10
		}
	}
}

// releaseLease releases the lease and clears the time of the next pass.
func (w *Worker) releaseLease(ctx context.Context) {
	w.updateStatus(func(s *Status) { s.Next = time.Time{} })
	if err := w.lease.release(ctx); err != nil {
		w.cfg.Log.Warn("lease release failed; it will expire", "error", err)
	}
}

// sleepContext waits for d. It returns false if ctx is done before.
func sleepContext(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// backoff is the pause after consecutive failures.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, 100*time.Millisecond), 5*time.Second)
	return b.last
}

func (b *backoff) reset() { b.last = 0 }
