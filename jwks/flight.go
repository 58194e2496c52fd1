package jwks

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// A flight is a fetch under way. Its results may be read once done is closed.
type flight struct {
	began  instant
	forced bool // caches on the way may not answer it
	news   bool // events have made it due
	done   chan struct{}
	copy   *copied
	err    error
}

// errGoexit is the error of a fetch whose callback ended the goroutine with
// [runtime.Goexit].
var errGoexit = fmt.Errorf("%w: a callback ended its goroutine", ErrJWKS)

// joinFlight returns the fetch under way, or starts one; or the copy of a fetch that has
// landed since the caller had that one. A lenient caller, which has a stale copy, does not
// wait for a fetch after one that failed: it gets the error of that one.
func (s *source) joinFlight(now instant, had *copied, lenient bool) (*copied, *flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.current.Load(); c != nil && (had == nil || c.fetched != had.fetched) {
		return c, nil, nil
	}
	f, err := s.flight, error(nil)
	if f == nil {
		f, err = s.startFlight(now, nil, false)
	}
	if lenient && s.failures > 0 {
		return nil, nil, s.failed
	}
	return nil, f, err
}

// startFlight starts a fetch if back-off and budgets allow it. The caller holds
// s.mu.
func (s *source) startFlight(now instant, also *budget, forced bool) (*flight, error) {
	if s.life.Err() != nil {
		return nil, ErrClosed
	}
	if s.failed != nil && !s.backOff.isOver(now) {
		return nil, s.failed
	}
	if wait := max(s.limit.untilNext(now), also.untilNext(now)); wait > 0 {
		return nil, &RateLimitError{RetryAfter: wait}
	}
	s.limit.take()
	also.take()
	s.flight = &flight{began: now, forced: forced, news: s.news, done: make(chan struct{}), err: errGoexit}
	s.news = false
	go s.runFlight(s.flight)
	return s.flight, nil
}

// runFlight runs a fetch in a goroutine of its own, which ends with the fetch:
// at the latest with its timeout or the client's life. Whatever a callback does,
// the flight lands, so that no caller waits for ever.
func (s *source) runFlight(f *flight) {
	defer s.land(f)
	ctx, cancel := context.WithTimeout(s.life, s.config.Timeout)
	defer cancel()
	err := catchPanic(func() (err error) {
		f.copy, err = s.fetch(ctx, s.current.Load(), f.forced)
		return err
	})
	if err != nil && s.life.Err() != nil {
		err = ErrClosed
	}
	f.err = err
}

// catchPanic calls fn and returns its panic, if there is one, as an error.
func catchPanic(fn func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("%w: a callback panicked: %v", ErrJWKS, value)
		}
	}()
	return fn()
}

// catchExit is catchPanic for a callback that may also end its goroutine, with
// [runtime.Goexit], which must then not be the caller's.
func catchExit(fn func() error) error {
	err, done := errGoexit, make(chan struct{})
	go func() {
		defer close(done)
		err = catchPanic(fn)
	}()
	<-done
	return err
}

// land publishes the result of a fetch, and lets the callers go on. The deferred
// calls run even if the clock or the logger, which are callbacks, end the goroutine.
func (s *source) land(f *flight) {
	defer close(f.done)
	now := f.began
	defer func() {
		wait := s.settle(f, now)
		if f.err != nil {
			_ = catchPanic(func() error {
				s.config.Logger.Warn("Fetching keys failed", slog.Any("error", f.err), slog.Duration("retry_after", wait))
				return nil
			})
		}
	}()
	_ = catchPanic(func() error { now = s.clock.read(); return nil })
}

// settle keeps the result of a fetch, and returns how long to wait before the
// next one.
func (s *source) settle(f *flight, now instant) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	s.stats.fetches.Add(1)
	if f.err == nil {
		s.failures, s.failed = 0, nil
		f.copy = f.copy.without(s.revoked.kids)
		s.current.Store(f.copy)
		return 0
	}
	f.copy = nil
	s.stats.failures.Add(1)
	s.failures++
	s.failed = f.err
	s.news = s.news || f.news
	wait = backOffAfter(s.failures, f.err)
	s.backOff = waitPeriod{now, wait}
	return wait
}

// wait waits for the flight to land, or until ctx is done.
func (f *flight) wait(ctx context.Context) (*copied, error) {
	select {
	case <-f.done:
		return f.copy, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// maxStaleWait is how long callers wait for a fetch while a stale set could be
// used in its place, measured from the start of the fetch. An issuer that answers
// is quicker; one that hangs must not hold up requests.
const maxStaleWait = 500 * time.Millisecond

var errHangs = fmt.Errorf("%w: the fetch is still under way", ErrJWKS)

// waitBriefly is wait for the rest of maxStaleWait; then the error is errHangs.
func (f *flight) waitBriefly(ctx context.Context, now instant) (*copied, error) {
	underWay, _ := f.began.elapsed(now)
	limited, cancel := context.WithTimeoutCause(ctx, maxStaleWait-underWay, errHangs)
	defer cancel()
	select {
	case <-f.done: // even if no time is left
		return f.copy, f.err
	default:
		return f.wait(limited)
	}
}

// backOffAfter returns how long to wait after a number of failures in a row: not
// at all after the first, then from half a second doubling to half a minute, half
// of it at random. An issuer's Retry-After counts, up to a minute.
func backOffAfter(failures int, err error) time.Duration {
	const first, most = 500 * time.Millisecond, 30 * time.Second
	wait := time.Duration(0)
	if failures > 1 {
		wait = min(first<<min(failures-2, 6), most)
		wait = wait/2 + rand.N(wait/2+1) // #nosec G404 -- jitter
	}
	return max(wait, min(serverRetryAfter(err), maxRetryAfter))
}

// maxRetryAfter bounds the waits that servers ask for: an issuer that is back
// earlier than it said is noticed within a minute.
const maxRetryAfter = time.Minute
