package jwks

import (
	"context"
	"log/slog"
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
	revoked  revoked   // what events said
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

// serveStale tells that a copy is used beyond its age.
func (s *source) serveStale(c *copied, cause error, now time.Time) {
	s.told.stale.Add(1)
	if s.config.OnStale != nil {
		s.config.OnStale(Stale{Err: cause, Fetched: c.fetched, Until: time.Unix(0, c.stale).UTC()})
	}
	s.config.Logger.Debug("Using stale keys", slog.Duration("age", now.Sub(c.fetched)), slog.Any("error", cause))
}
