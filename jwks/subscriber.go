package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"
)

// listened is a stream that tells when something is read of it.
type listened struct {
	io.Reader
	heard func(n int)
}

func (l *listened) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	l.heard(n)
	return n, err
}

// hear acts on events until the stream ends. The position moves only past what
// was acted on; it is lost with a stream that could not be read, as the next
// one would end at the same event.
func (s *subscription) hear(stream *events) error {
	for {
		got, err := stream.read()
		s.retry = or(stream.retry, s.retry)
		switch {
		case errors.Is(err, io.EOF):
			return errStreamEnd
		case errors.Is(err, errTooLong):
			s.last = ""
			return err
		case err != nil:
			return err
		}
		if got.data != nil {
			s.client.act(got, s.refetch)
		}
		s.last = stream.id
	}
}

// act does what an event asks for. Events may come twice, and late: none of
// them undoes anything.
func (c *Client) act(e event, refetch func()) {
	c.told.events.Add(1)
	c.told.lastEvent.Store(c.config.Now().UnixNano())
	if e.name == "key.revoked" {
		var about struct {
			KID string `json:"kid"`
		}
		if err := json.Unmarshal(e.data, &about); err == nil {
			c.refuse(about.KID)
		}
	}
	if strings.HasPrefix(e.name, "key.") || strings.HasPrefix(e.name, "tenant.") {
		refetch()
	}
}

// refuse lets a kid verify nothing from now on.
func (c *Client) refuse(kid string) {
	if kid == "" || len(kid) > maxRevokedKid {
		return
	}
	for _, s := range [...]*source{c.local, c.remote} {
		if s != nil {
			s.refuse(kid)
		}
	}
	c.config.Logger.Debug("A key is revoked", slog.String("kid", kid))
}

// refetch has the set fetched by follow. Events that come while it is fetched
// cause one more fetch, however many they are.
func (s *subscription) refetch() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// refetches is how many fetches events may cause in a minute. What is beyond
// is late, not lost, and a revoked kid is refused at once all the same.
const refetches = 60

// follow fetches the set whenever there is news, and until that succeeds.
func (s *subscription) follow(ctx context.Context) {
	limit := newBudget(refetches)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news:
		}
		for failures := 0; ; {
			pause(ctx, limit.wait(time.Now()))
			limit.take()
			err := s.client.Refresh(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			failures++
			pause(ctx, tryAgain(failures, err))
		}
	}
}

// tryAgain is how long to wait after so many failed refreshes.
func tryAgain(failures int, err error) time.Duration {
	wait := max(backOff(failures, err), 500*time.Millisecond)
	if limited := (*RateLimitError)(nil); errors.As(err, &limited) {
		wait = max(wait, limited.RetryAfter)
	}
	return wait
}

// reconnect is how long to wait before a stream is opened again: what the
// server asked for, within reason, else two seconds, then twice that with each
// failure up to half a minute; and up to half as long again by chance, so that
// those who lost a server together do not come back together. A refusal that
// says when to come back is heard, within a minute.
func reconnect(asked time.Duration, failures int, err error) time.Duration {
	const most = 30 * time.Second
	first := min(max(or(asked, 2*time.Second), 500*time.Millisecond), time.Minute)
	wait := max(first, min(first<<min(failures, 6), most))
	wait = max(wait, min(retryAfter(err), time.Minute))
	return wait + rand.N(wait/2+1)
}

// pause waits, unless ctx is done.
func pause(ctx context.Context, d time.Duration) {
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
