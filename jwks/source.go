package jwks

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A source is where sets come from, and the copy at hand. Only one fetch is
// under way at a time; it runs on the client's context, so that a caller who
// gives up takes nothing from the others who wait for it.
type source struct {
	config *Config
	fetch  func(ctx context.Context, prior *copied) (*copied, error)
	life   context.Context
	told   *counters

	current atomic.Pointer[copied]
	retry   atomic.Int64 // no fetch before this, in ns

	mu       sync.Mutex
	flight   *flight   // nil if no fetch is under way
	failed   error     // of the last fetch
	failures int       // in a row
	quiet    time.Time // no fetch for an unknown kid before this
	limit    *budget   // of all fetches; nil if there is none
	unknown  *budget   // of those for unknown kids, within the other
}

// A flight is a fetch under way. Its results may be read once done is closed.
type flight struct {
	done chan struct{}
	copy *copied
	err  error
}

// fresh is the copy at hand if nothing at all needs to be done about it.
func (s *source) fresh(now int64) *copied {
	if c := s.current.Load(); c != nil && now < c.refresh {
		return c
	}
	return nil
}

// get gives a copy that may be used at now, and whether it was fetched for it.
func (s *source) get(ctx context.Context, now time.Time) (c *copied, fetched bool, err error) {
	c = s.current.Load()
	if c != nil && now.UnixNano() < c.expires {
		if now.UnixNano() >= c.refresh {
			s.refreshAhead(now)
		}
		return c, false, nil
	}
	lenient := c != nil && now.UnixNano() < c.stale
	f, err := s.join(now, lenient)
	if f != nil {
		if c, err := f.wait(ctx); err == nil || ctx.Err() != nil {
			return c, true, err
		}
		err = f.err
	}
	if lenient {
		s.serveStale(c, err, now)
		return c, false, nil
	}
	return nil, false, err
}

// again gives a newer copy than had, whose kids were not enough.
func (s *source) again(ctx context.Context, now time.Time, had *copied) (*copied, error) {
	s.mu.Lock()
	if c := s.current.Load(); c != had {
		s.mu.Unlock()
		return c, nil
	}
	f, err := s.flight, error(nil)
	switch {
	case f != nil:
	case now.Before(s.quiet) || s.config.UnknownKidsPerMinute < 0:
		s.mu.Unlock()
		return had, nil
	default:
		if f, err = s.start(now, s.unknown); f != nil {
			s.quiet = now.Add(s.config.Cooldown)
			s.told.unknown.Add(1)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return f.wait(ctx)
}

// renew gets a copy whose fetch began after the call.
func (s *source) renew(ctx context.Context, now time.Time) error {
	s.mu.Lock()
	before := s.flight
	s.mu.Unlock()
	if before != nil {
		if _, err := before.wait(ctx); ctx.Err() != nil {
			return err
		}
	}
	f, err := s.join(now, false)
	if err == nil {
		_, err = f.wait(ctx)
	}
	return err
}

// refreshAhead has the set fetched without waiting for it. That it may not be
// or fails is no harm yet.
func (s *source) refreshAhead(now time.Time) {
	if now.UnixNano() < s.retry.Load() || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if s.flight == nil {
		_, _ = s.start(now, nil)
	}
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

// run is the only goroutine there is. It ends with the fetch, which ends with
// its timeout or the client's life.
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

// serveStale tells that a copy is used beyond its age.
func (s *source) serveStale(c *copied, cause error, now time.Time) {
	s.told.stale.Add(1)
	if s.config.OnStale != nil {
		s.config.OnStale(Stale{Err: cause, Fetched: c.fetched, Until: time.Unix(0, c.stale).UTC()})
	}
	s.config.Logger.Debug("Using stale keys", slog.Duration("age", now.Sub(c.fetched)), slog.Any("error", cause))
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
