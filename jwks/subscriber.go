package jwks

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/keyward/keyward/internal/sse"
)

// readNotifier calls onRead after each Read.
type readNotifier struct {
	io.Reader
	onRead func()
}

func (r readNotifier) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.onRead()
	return n, err
}

// readEvents handles events until the stream ends. The position moves only past
// events that were handled. After an event that is too long the position is
// dropped, because a resumed stream would end at the same event again.
func (s *subscription) readEvents(stream *sse.Reader) error {
	for {
		event, err := stream.Read()
		s.retry = cmp.Or(stream.Retry, s.retry)
		switch {
		case errors.Is(err, io.EOF):
			return errStreamEnd
		case errors.Is(err, sse.ErrTooLong):
			s.last = ""
			return err
		case err != nil:
			return err
		}
		if event.Data != nil {
			s.client.handleEvent(event, s.refetch)
		}
		s.last = stream.ID
	}
}

// handleEvent carries out an event. Events can arrive twice and late, so no event
// ever undoes anything.
func (c *Client) handleEvent(e sse.Event, refetch func()) {
	c.stats.events.Add(1)
	c.stats.lastEvent.Store(c.clock.read().wall)
	if e.Name == "key.revoked" {
		if members, err := parseMembers(string(e.Data), "kid"); err == nil {
			c.refuseKid(members["kid"])
		}
	}
	if strings.HasPrefix(e.Name, "key.") || strings.HasPrefix(e.Name, "tenant.") {
		refetch()
	}
}

// refuseKid makes a kid verify nothing from now on.
func (c *Client) refuseKid(kid string) {
	if kid == "" || len(kid) > maxRevokedKid {
		return
	}
	for _, s := range c.sources() {
		if s != nil {
			s.refuseKid(kid)
		}
	}
	c.config.Logger.Debug("A key is revoked", slog.String("kid", kid))
}

// refetch makes follow fetch the set. Events that arrive during the fetch cause one
// more fetch, however many they are.
func (s *subscription) refetch() {
	for _, source := range s.client.sources() {
		if source != nil {
			source.announce()
		}
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// hasNews reports whether a set may have changed since its last fetch began.
func (c *Client) hasNews() bool {
	for _, s := range c.sources() {
		if s != nil && s.hasNews() {
			return true
		}
	}
	return false
}

func (s *source) hasNews() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

// announce notes that the set may have changed.
func (s *source) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news = true
}

// refetches bounds the fetches that events cause in a minute. Further ones are late,
// not lost, and a revoked kid is refused at once in any case.
const refetches = 60

// spread is the time within which subscribers fetch a set that has changed, each at
// a moment of its own: all at once they would keep the issuer, and each other, from
// the next event. A kid that is not known yet does not wait for it.
const spread = 250 * time.Millisecond

// follow fetches the set whenever there is news, and until that succeeds.
func (s *subscription) follow(ctx context.Context) {
	limit, clock := newBudget(refetches), newClock(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news:
		}
		sleepFor(ctx, rand.N(spread)) // #nosec G404 -- jitter
		for failures := 0; s.client.hasNews(); {
			sleepFor(ctx, limit.untilNext(clock.read()))
			limit.take()
			err := catchExit(func() error { return s.client.Refresh(ctx) })
			if err == nil || ctx.Err() != nil {
				break
			}
			failures++
			sleepFor(ctx, refreshDelay(failures, err))
		}
	}
}

// refreshDelay returns how long to wait after that many failed refreshes.
func refreshDelay(failures int, err error) time.Duration {
	wait := max(backOffAfter(failures, err), 500*time.Millisecond)
	if limited := (*RateLimitError)(nil); errors.As(err, &limited) {
		wait = max(wait, limited.RetryAfter)
	}
	return wait
}

// reconnectDelay returns how long to wait before a stream is opened again: as long
// as the server asked for, within reason, else two seconds, doubled with each
// failure up to half a minute; and up to half as long again at random, so that the
// clients that lost a server together do not come back together. The Retry-After
// of a refusal counts, up to a minute.
func reconnectDelay(asked time.Duration, failures int, err error) time.Duration {
	const most = 30 * time.Second
	first := min(max(cmp.Or(asked, 2*time.Second), 500*time.Millisecond), time.Minute)
	wait := max(first, min(first<<min(failures, 6), most))
	wait = max(wait, min(serverRetryAfter(err), maxRetryAfter))
	return wait + rand.N(wait/2+1) // #nosec G404 -- jitter
}

// sleepFor sleeps until d has passed or ctx is done.
func sleepFor(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-ctx.Done():
	case <-over.C:
	}
}
