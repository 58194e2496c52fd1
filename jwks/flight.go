package jwks

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// A flight is a fetch under way. Its results may be read once done is closed.
type flight struct {
	done chan struct{}
	copy *copied
	err  error
}

// join gives the fetch under way, or starts one. Who is lenient and knows that
// fetches fail does not wait for the next one.
func (s *source) join(now time.Time, lenient bool) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.flight, error(nil)
	if f == nil {
		f, err = s.start(now, nil)
	}
	if lenient && s.failures > 0 {
		return nil, s.failed
	}
	return f, err
}

// start starts a fetch if back-off and budgets allow it. s.mu is held.
func (s *source) start(now time.Time, also *budget) (*flight, error) {
	if s.life.Err() != nil {
		return nil, ErrClosed
	}
	if now.UnixNano() < s.retry.Load() {
		return nil, s.failed
	}
	if wait := max(s.limit.wait(now), also.wait(now)); wait > 0 {
		return nil, &RateLimitError{RetryAfter: wait}
	}
	s.limit.take()
	also.take()
	s.flight = &flight{done: make(chan struct{})}
	go s.run(s.flight)
	return s.flight, nil
}

// run is the only goroutine there is, but for those of a subscription. It ends
// with the fetch, which ends with its timeout or the client's life.
func (s *source) run(f *flight) {
	ctx, cancel := context.WithTimeout(s.life, s.config.Timeout)
	defer cancel()
	f.copy, f.err = s.fetch(ctx, s.current.Load())
	if f.err != nil && s.life.Err() != nil {
		f.err = ErrClosed
	}
	s.mu.Lock()
	s.flight = nil
	s.settle(f)
	s.mu.Unlock()
	close(f.done)
}

// settle keeps what a fetch brought. s.mu is held.
func (s *source) settle(f *flight) {
	s.told.fetches.Add(1)
	if f.err == nil {
		s.failures, s.failed = 0, nil
		s.retry.Store(0)
		f.copy = f.copy.without(s.revoked.kids)
		s.current.Store(f.copy)
		return
	}
	s.told.failures.Add(1)
	s.failures++
	s.failed = f.err
	wait := backOff(s.failures, f.err)
	s.retry.Store(s.config.Now().Add(wait).UnixNano())
	s.config.Logger.Warn("Fetching keys failed", slog.Any("error", f.err), slog.Duration("retry_after", wait))
}

func (f *flight) wait(ctx context.Context) (*copied, error) {
	select {
	case <-f.done:
		return f.copy, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// backOff is how long to wait after so many failures in a row: not after the
// first, then from half a second doubling to half a minute, half of it by
// chance. An issuer that says when to come back is heard, within a minute.
func backOff(failures int, err error) time.Duration {
	const first, most = 500 * time.Millisecond, 30 * time.Second
	wait := time.Duration(0)
	if failures > 1 {
		wait = min(first<<min(failures-2, 6), most)
		wait = wait/2 + rand.N(wait/2+1)
	}
	return max(wait, min(retryAfter(err), time.Minute))
}
