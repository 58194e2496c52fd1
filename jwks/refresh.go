package jwks

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"
)

// Refresh fetches the set now and waits for it: it is for those who know that
// the set has changed, such as a subscriber to an issuer's events. Back-off and
// RateLimit are kept.
func (c *Client) Refresh(ctx context.Context) error {
	for _, s := range [...]*source{c.local, c.remote} {
		if s == nil {
			continue
		}
		if err := s.renew(ctx, c.config.Now()); err != nil {
			return err
		}
	}
	return nil
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

// Stats are counts since a client was made.
type Stats struct {
	Fetches     uint64 // that ended, failed ones too
	Failures    uint64 // of fetches
	UnknownKids uint64 // fetches made for a kid that the set did not have
	Skipped     uint64 // keys of fetched sets that were not used
	Stale       uint64 // times a set was used beyond its age
}

type counters struct{ fetches, failures, unknown, skipped, stale atomic.Uint64 }

// Stats reads the counts.
func (c *Client) Stats() Stats {
	t := &c.told
	return Stats{t.fetches.Load(), t.failures.Load(), t.unknown.Load(), t.skipped.Load(), t.stale.Load()}
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
