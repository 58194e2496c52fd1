package jwks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// A Client has the keys of one issuer. It is safe for concurrent use and must
// not be copied.
type Client struct {
	config Config
	web    *web
	found  discovered
	local  *source // nil if there is none
	remote *source // nil if there is none
	told   counters
	life   context.Context // until Close
	end    context.CancelFunc
}

// New makes a client. Nothing is fetched until a key is asked for. Its errors
// wrap [ErrArgument].
func New(config Config) (*Client, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{config: config}
	c.web = newWeb(&c.config)
	life, end := context.WithCancel(context.Background())
	c.life, c.end = life, end
	if config.Local != nil {
		c.local = c.source(life, c.fetchLocal)
	}
	if config.URL != "" || config.Issuer != "" {
		c.remote = c.source(life, c.fetchRemote)
		if config.RateLimit {
			c.remote.limit = newBudget(config.RequestsPerMinute)
		}
	}
	c.describe()
	return c, nil
}

func (c *Client) source(life context.Context, fetch func(context.Context, *copied) (*copied, error)) *source {
	unknown := newBudget(c.config.UnknownKidsPerMinute)
	return &source{config: &c.config, fetch: fetch, life: life, told: &c.told, unknown: unknown}
}

// describe logs what jwks-rsa logs when it is made.
func (c *Client) describe() {
	if log := c.config.Logger; !c.config.NoCache {
		log.Debug("Configured caching of signing keys", slog.Int("max", c.config.MaxEntries), slog.Duration("age", c.config.MaxAge))
	}
	if c.config.RateLimit {
		c.config.Logger.Debug("Configured rate limiting to JWKS endpoint", slog.Int("per_minute", c.config.RequestsPerMinute))
	}
}

// Close ends what is under way, subscriptions too; later fetches fail with
// [ErrClosed]. The keys at hand stay good for their age. A client that is only
// forgotten, and not subscribed, leaks nothing.
func (c *Client) Close() { c.end() }

// fetchRemote is one fetch of the issuer's set.
func (c *Client) fetchRemote(ctx context.Context, prior *copied) (*copied, error) {
	address, err := c.jwksURL(ctx)
	if err != nil {
		return nil, err
	}
	c.config.Logger.Debug("Fetching keys from", slog.String("url", redacted(address)))
	if c.config.Fetch != nil {
		raw, err := c.config.Fetch(ctx, address)
		if err != nil {
			return nil, &FetchError{URL: redacted(address), Err: err}
		}
		return c.keep(address, raw, nil)
	}
	if prior != nil && prior.etag == "" && prior.modified == "" {
		prior = nil
	}
	raw, header, err := c.web.get(ctx, address, prior)
	switch {
	case err != nil:
		c.found = discovered{} // perhaps the keys have moved
		return nil, err
	case raw == nil:
		return c.dated(newCopy(prior.set, unchanged(header, prior), c.config.Now(), &c.config)), nil
	}
	return c.keep(address, raw, header)
}

// keep reads a fetched document.
func (c *Client) keep(address string, raw []byte, header map[string][]string) (*copied, error) {
	if int64(len(raw)) > c.config.MaxBody {
		return nil, &FetchError{URL: redacted(address), Err: errTooLong}
	}
	s, err := parseSet(raw, c.config.MaxEntries, c.config.MaxKeys, c.skip)
	if err != nil {
		return nil, &FetchError{URL: redacted(address), Err: err}
	}
	c.config.Logger.Debug("Keys", slog.Int("keys", s.total), slog.Int("signing_keys", len(s.entries)))
	return c.dated(newCopy(s, header, c.config.Now(), &c.config)), nil
}

// dated lets a copy that must not be kept expire at once.
func (c *Client) dated(fresh *copied) *copied {
	if c.config.NoCache {
		fresh.refresh, fresh.expires, fresh.stale = 0, 0, 0
	}
	return fresh
}

// skip tells of a key that is not used. A private one is an accident that
// somebody should hear of.
func (c *Client) skip(kid string, reason error) {
	c.told.skipped.Add(1)
	level := slog.LevelDebug
	if errors.Is(reason, errPrivate) {
		level = slog.LevelWarn
	}
	c.config.Logger.Log(context.Background(), level, "Skipping a key", slog.String("kid", kid), slog.Any("reason", reason))
	c.config.OnSkip(kid, reason)
}

func noClientFor(issuer string) error { return fmt.Errorf("%w: %.100q", ErrIssuer, issuer) }
