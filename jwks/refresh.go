package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"
)

// Refresh fetches the set now and waits for it: it is for those who know that
// the set has changed, such as a subscriber to an issuer's events. Back-off and
// RateLimit are kept.
func (c *Client) Refresh(ctx context.Context) error {
	var failed error
	for _, s := range [...]*source{c.local, c.remote} {
		if s != nil {
			failed = errors.Join(failed, s.renew(ctx, c.config.Now()))
		}
	}
	return failed
}

// Raw is the issuer's document as it was fetched, every key of it, or the local
// one if there is no other. It must not be changed.
func (c *Client) Raw(ctx context.Context) (json.RawMessage, error) {
	s := c.remote
	if s == nil {
		s = c.local
	}
	have, _, err := s.get(ctx, c.config.Now())
	if err != nil {
		return nil, err
	}
	return have.raw, nil
}

// Stats are counts since a client was made, and the state of its subscription.
type Stats struct {
	Fetches     uint64 // that ended, failed ones too
	Failures    uint64 // of fetches
	UnknownKids uint64 // fetches made for a kid that the set did not have
	Skipped     uint64 // keys of fetched sets that were not used
	Stale       uint64 // times a set was used beyond its age

	Subscribed bool      // an event stream is open
	Events     uint64    // heard, of whatever kind
	LastEvent  time.Time // when the last one was heard; zero if none was
}

type counters struct {
	fetches, failures, unknown, skipped, stale, events atomic.Uint64

	streams   atomic.Int64 // that are open
	lastEvent atomic.Int64 // in ns; 0 if there was none
}

// Stats reads the counts.
func (c *Client) Stats() Stats {
	t := &c.told
	s := Stats{
		Fetches: t.fetches.Load(), Failures: t.failures.Load(), UnknownKids: t.unknown.Load(), Skipped: t.skipped.Load(), Stale: t.stale.Load(),
		Subscribed: t.streams.Load() > 0, Events: t.events.Load(),
	}
	if at := t.lastEvent.Load(); at != 0 {
		s.LastEvent = time.Unix(0, at).UTC()
	}
	return s
}

// Age is how long ago the set at hand was fetched or found unchanged; false if
// there is none.
func (c *Client) Age() (time.Duration, bool) {
	if c.remote != nil {
		if have := c.remote.current.Load(); have != nil {
			return c.config.Now().Sub(have.fetched), true
		}
	}
	return 0, false
}
