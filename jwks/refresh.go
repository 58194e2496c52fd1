package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"
)

// Refresh fetches the set now, past caches on the way, and waits for it. Call it
// after word that the set has changed, such as an issuer's event. Back-off and
// RateLimit still apply.
func (c *Client) Refresh(ctx context.Context) error {
	var failed error
	for _, s := range c.sources() {
		if s != nil {
			failed = errors.Join(failed, s.renew(ctx))
		}
	}
	return failed
}

// Raw returns the issuer's document as it was fetched, with every key, or the
// local one if there is no other.
func (c *Client) Raw(ctx context.Context) (json.RawMessage, error) {
	s := c.remote
	if s == nil {
		s = c.local
	}
	have, _, err := s.usableCopy(ctx)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(have.raw), nil
}

// Stats holds counts since a client was made, and the state of its subscription.
type Stats struct {
	Fetches     uint64 // that have ended, including failed ones
	Failures    uint64 // of fetches
	UnknownKids uint64 // fetches for a kid, or a signature, that the set could not verify
	Skipped     uint64 // keys of fetched sets that were not used
	Stale       uint64 // times a set was used beyond its age

	Subscribed bool      // an event stream is open
	Events     uint64    // received, of every kind
	LastEvent  time.Time // when the last one arrived; zero if none did
}

type counters struct {
	fetches, failures, unknown, skipped, stale, events atomic.Uint64

	streams   atomic.Int64 // that are open
	lastEvent atomic.Int64 // in ns; 0 if there was none
}

// Stats returns the counts.
func (c *Client) Stats() Stats {
	t := &c.stats
	s := Stats{
		Fetches: t.fetches.Load(), Failures: t.failures.Load(), UnknownKids: t.unknown.Load(), Skipped: t.skipped.Load(), Stale: t.stale.Load(),
		Subscribed: t.streams.Load() > 0, Events: t.events.Load(),
	}
	if at := t.lastEvent.Load(); at != 0 {
		s.LastEvent = time.Unix(0, at).UTC()
	}
	return s
}

// Age returns how long ago the set at hand was fetched or found unchanged; false
// if there is none.
func (c *Client) Age() (time.Duration, bool) {
	if c.remote != nil {
		if have := c.remote.current.Load(); have != nil {
			age, _ := have.fetched.elapsed(c.clock.read())
			return age, true
		}
	}
	return 0, false
}
