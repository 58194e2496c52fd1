package jwks

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// A source fetches sets from one place and keeps the last copy. Only one fetch is
// under way at a time. It runs on the client's context, so that a caller that gives
// up does not cancel it for the others.
type source struct {
	config *Config
	clock  *clock
	fetch  func(ctx context.Context, prior *copied, forced bool) (*copied, error)
	life   context.Context
	stats  *counters

	current atomic.Pointer[copied]

	mu       sync.Mutex // held for moments only, and never while a callback runs
	flight   *flight    // nil if no fetch is under way
	failed   error      // of the last fetch
	failures int        // in a row
	backOff  waitPeriod // after a failed fetch
	coolDown waitPeriod // after a fetch for an unknown kid
	limit    *budget    // of all fetches; nil if there is none
	unknown  *budget    // of fetches for unknown kids, within limit
	revoked  revoked    // kids that events have revoked
	news     bool       // events have told of a change, and no fetch has begun since
}

// freshCopy returns the copy at hand if it needs no attention at now, else nil.
func (s *source) freshCopy(now instant) *copied {
	if c := s.current.Load(); c != nil && c.fetched.within(c.refresh, now) {
		return c
	}
	return nil
}

// usableCopy returns a copy that may be used now, and whether it was fetched for
// this call.
func (s *source) usableCopy(ctx context.Context) (c *copied, fetched bool, err error) {
	now := s.clock.read()
	c = s.current.Load()
	if c != nil && c.fetched.within(c.expires, now) {
		if !c.fetched.within(c.refresh, now) {
			s.refreshAhead(now)
		}
		return c, false, nil
	}
	lenient := false
	if c != nil {
		age, _ := c.fetched.elapsed(now)
		lenient = age < c.stale
	}
	newer, f, err := s.joinFlight(now, c, lenient)
	if newer != nil {
		return newer, true, nil
	}
	if f != nil {
		var fresh *copied
		if lenient {
			fresh, err = f.waitBriefly(ctx, now)
		} else {
			fresh, err = f.wait(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return fresh, true, err
		}
	}
	if lenient {
		s.reportStale(c, err, now)
		return c, false, nil
	}
	return nil, false, err
}

// newerCopy returns a newer copy than had, in which a kid was not found or a
// signature did not verify. It returns had itself if no fetch is due so soon after
// the last one, unless an event has made it due. If a budget forbids the fetch, the
// error is a *[RateLimitError].
// Callers that can do without, and all after a fetch that failed, wait only
// maxStaleWait: any stranger can send a token that leads here.
func (s *source) newerCopy(ctx context.Context, had *copied, patient bool) (*copied, error) {
	now := s.clock.read()
	s.mu.Lock()
	if c := s.current.Load(); c != had {
		s.mu.Unlock()
		return c, nil
	}
	f, err := s.flight, error(nil)
	patient = patient && s.failures == 0
	switch {
	case f != nil:
	case !s.coolDown.isOver(now) && !s.news || s.config.UnknownKidsPerMinute < 0:
		s.mu.Unlock()
		return had, nil
	default:
		if f, err = s.startFlight(now, s.unknown, true); f != nil {
			s.coolDown = waitPeriod{now, s.config.Cooldown}
			s.stats.unknown.Add(1)
		}
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case patient:
		return f.wait(ctx)
	}
	return f.waitBriefly(ctx, now)
}

// renew waits for a fetch that began after the call and that no cache on the way
// may answer.
func (s *source) renew(ctx context.Context) error {
	for first := true; ; first = false {
		now := s.clock.read()
		s.mu.Lock()
		f, err := s.flight, error(nil)
		enough := f == nil || f.forced && !first // the first one began before the call
		if f == nil {
			f, err = s.startFlight(now, nil, true)
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if _, err = f.wait(ctx); enough || ctx.Err() != nil {
			return err
		}
	}
}

// refreshAhead starts a fetch in the background. Nothing is lost if it may not
// start or fails: the copy at hand has not expired.
func (s *source) refreshAhead(now instant) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if s.flight == nil {
		_, _ = s.startFlight(now, nil, false)
	}
}

// reportStale counts and reports the use of a copy beyond its age.
func (s *source) reportStale(c *copied, cause error, now instant) {
	s.stats.stale.Add(1)
	if s.config.OnStale != nil {
		s.config.OnStale(Stale{Err: cause, Fetched: c.fetched.time(), Until: c.fetched.time().Add(c.stale)})
	}
	age, _ := c.fetched.elapsed(now)
	s.config.Logger.Debug("Using stale keys", slog.Duration("age", age), slog.Any("error", cause))
}
