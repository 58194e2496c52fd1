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
//	         lost, or over

// follow tries to become the leader until it is or ctx is over; it tells which.
func (w *Worker) follow(ctx context.Context) bool {
	var failed backoff
	for ctx.Err() == nil {
		won, err := w.lease.acquire(ctx)
		pause := w.cfg.TTL / 3
		switch {
		case won:
			w.cfg.Log.Info("leading", "holder", w.cfg.Holder, "term", w.lease.currentTerm())
			return true
		case err != nil && ctx.Err() == nil:
			pause = failed.next()
			w.cfg.Log.Warn("lease not asked for", "error", err, "again_in", pause)
		default:
			failed.reset()
		}
		sleepContext(ctx, pause)
	}
	return false
}

// lead works until the lease is lost or ctx is over. The context of the work
// outlives ctx, so that a pass in hand is finished, but never the lease.
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
	w.runPasses(ctx, leading)
	stop()
	<-done
	w.releaseLease(ctx)
}

// renewLease renews the lease three times in its lifetime, until ctx is over or the
// lease is lost. What cannot be renewed in time expires by itself.
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
			w.cfg.Log.Warn("lease not renewed", "error", err)
			pause = w.cfg.TTL / 10
		}
	}
}

// releaseLease gives back what is left of the lease.
func (w *Worker) releaseLease(ctx context.Context) {
	w.updateStatus(func(s *Status) { s.Next = time.Time{} })
	if err := w.lease.release(ctx); err != nil {
		w.cfg.Log.Warn("lease not given back; it runs out by itself", "error", err)
	}
}

// sleepContext waits, and says whether ctx is still on.
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

// backoff is how long to wait after failures in a row.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, 100*time.Millisecond), 5*time.Second)
	return b.last
}

func (b *backoff) reset() { b.last = 0 }
