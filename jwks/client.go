package jwks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
)

// A Client has the keys of one issuer. It is safe for concurrent use and must
// not be copied.
type Client struct {
	config Config
	clock  *clock
	web    *web
	found  discovered
	pin    *pin    // nil if sets need no signature
	local  *source // nil if there is none
	remote *source // nil if there is none
	stats  counters
	life   context.Context // until Close
	end    context.CancelFunc
}

// New makes a client. Nothing is fetched until a key is asked for. Its errors
// wrap [ErrArgument].
func New(config Config) (*Client, error) {
	clock := newClock(config.Now)
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{config: config, clock: clock}
	if c.pin, err = newPin(&c.config); err != nil {
		return nil, err
	}
	c.web = newWeb(&c.config)
	life, end := context.WithCancel(context.Background())
	c.life, c.end = life, end
	if config.Local != nil {
		c.local = c.newSource(life, c.fetchLocal)
	}
	if config.URL != "" || config.Issuer != "" {
		c.remote = c.newSource(life, c.fetchRemote)
		if config.RateLimit {
			c.remote.limit = newBudget(config.RequestsPerMinute)
		}
	}
	c.logConfig()
	return c, nil
}

func (c *Client) newSource(life context.Context, fetch func(context.Context, *copied, bool) (*copied, error)) *source {
	unknown := newBudget(c.config.UnknownKidsPerMinute)
	return &source{config: &c.config, clock: c.clock, fetch: fetch, life: life, stats: &c.stats, unknown: unknown}
}

// logConfig logs the same lines as jwks-rsa does at construction.
func (c *Client) logConfig() {
	if log := c.config.Logger; !c.config.NoCache {
		log.Debug("Configured caching of signing keys", slog.Int("max", c.config.MaxEntries), slog.Duration("age", c.config.MaxAge))
	}
	if c.config.RateLimit {
		c.config.Logger.Debug("Configured rate limiting to JWKS endpoint", slog.Int("per_minute", c.config.RequestsPerMinute))
	}
}

// Close cancels fetches and subscriptions; later fetches fail with [ErrClosed].
// The keys at hand stay valid for their age. A client that is dropped without
// Close, and has no subscription, leaks nothing.
func (c *Client) Close() { c.end() }

// fetchRemote fetches the issuer's set once. forced bypasses caches on the way.
func (c *Client) fetchRemote(ctx context.Context, prior *copied, forced bool) (*copied, error) {
	address, err := c.findURL(ctx, forced)
	if err != nil {
		return nil, err
	}
	c.found.doubted = true // until it is known that the address still works
	c.config.Logger.Debug("Fetching keys from", slog.String("url", redactURL(address)))
	fresh, err := c.fetchSet(ctx, address, prior, forced)
	if err != nil {
		return nil, err
	}
	c.found.doubted = false
	fresh.url = address
	return fresh, nil
}

// fetchSet fetches the set at an address. An ETag belongs to the URL it came from,
// so prior counts only if it came from the same address.
func (c *Client) fetchSet(ctx context.Context, address string, prior *copied, forced bool) (*copied, error) {
	if c.config.Fetch != nil {
		header := http.Header{}
		raw, err := c.config.Fetch(context.WithValue(ctx, headerKey{}, header), address)
		if err != nil {
			return nil, &FetchError{URL: redactURL(address), Err: err}
		}
		return c.parseDocument(ctx, address, &document{body: raw, header: header, url: address})
	}
	if prior != nil && (prior.url != address || prior.etag == "" && prior.modified == "") {
		prior = nil
	}
	d, err := c.web.getDocument(ctx, address, prior, forced)
	switch {
	case err != nil:
		return nil, err
	case d.body == nil && c.pin.isSuperseded(prior.set):
		return nil, &FetchError{URL: redactURL(address), Status: http.StatusNotModified, Err: ErrRollback}
	case d.body == nil:
		return c.dateCopy(prior.set, d.url, prior.revalidated(d.header)), nil
	}
	return c.parseDocument(ctx, address, d)
}

// parseDocument parses a fetched document. The time limit of the fetch covers it.
func (c *Client) parseDocument(ctx context.Context, address string, d *document) (*copied, error) {
	if int64(len(d.body)) > c.config.MaxBody {
		return nil, &FetchError{URL: redactURL(address), Err: errTooLong}
	}
	s, err := c.parseBody(ctx, d.body)
	if err != nil {
		return nil, &FetchError{URL: redactURL(address), Err: err}
	}
	c.config.Logger.Debug("Keys", slog.Int("keys", s.total), slog.Int("signing_keys", len(s.entries)))
	return c.dateCopy(s, d.url, d.header), nil
}

// parseBody parses a set. With a pin it must be a signed one, and replaces an older one
// of the other source.
func (c *Client) parseBody(ctx context.Context, body []byte) (*set, error) {
	parse := func(document []byte) (*set, error) {
		return parseSet(ctx, document, c.config.MaxEntries, c.config.MaxKeys, c.skipKey)
	}
	if c.pin == nil {
		return parse(body)
	}
	s, err := c.pin.accept(ctx, body, c.clock.read().time(), c.isRevoked, parse)
	if err == nil {
		c.dropOlder(s.signed)
	}
	return s, err
}

// isRevoked reports whether an event has revoked a kid.
func (c *Client) isRevoked(kid string) bool {
	for _, s := range c.sources() {
		if s != nil && s.hasRevoked(kid) {
			return true
		}
	}
	return false
}

// dropOlder drops the copies of signed sets that precede an accepted one.
func (c *Client) dropOlder(than *signedSet) {
	for _, s := range c.sources() {
		if s == nil {
			continue
		}
		if have := s.current.Load(); have != nil && have.signed != nil && have.signed.olderThan(than) {
			s.current.CompareAndSwap(have, nil)
		}
	}
}

// dateCopy makes a copy of a set that has just come. With NoCache it expires at
// once.
func (c *Client) dateCopy(s *set, finalURL string, header http.Header) *copied {
	fresh := newCopy(s, header, c.clock.read(), &c.config)
	fresh.finalURL = finalURL
	fresh.limitToSignature()
	if c.config.NoCache {
		fresh.refresh, fresh.expires, fresh.stale = 0, 0, 0
	}
	return fresh
}

// skipKey counts and reports a key that is not used. A private key in a set is an
// accident, hence the warning.
func (c *Client) skipKey(kid string, reason error) {
	c.stats.skipped.Add(1)
	level := slog.LevelDebug
	if errors.Is(reason, errPrivate) {
		level = slog.LevelWarn
	}
	c.config.Logger.Log(context.Background(), level, "Skipping a key", slog.String("kid", kid), slog.Any("reason", reason))
	c.config.OnSkip(kid, reason)
}

// unknownIssuer returns the error of an issuer that is not accepted.
func unknownIssuer(issuer string) error { return fmt.Errorf("%w: %.100q", ErrIssuer, issuer) }
