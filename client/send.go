package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/keyward/keyward/internal/retryafter"
)

// Limits of a request.
const (
	answerTime = 30 * time.Second // for the whole of an answer; for a stream, for its beginning
	exportTime = 10 * time.Minute // for the beginning of an export: what is chosen may be rare
	longest    = 30 * time.Second // wait between two tries
)

// sender sends requests: with the credential, again where that does no harm.
type sender struct {
	http     http.Client
	key      string
	agent    string
	insecure bool
	retries  int
	pause    func(context.Context, time.Duration) error
}

// Do implements [HttpRequestDoer]. It returns the last answer, whatever its
// status is.
func (s *sender) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("User-Agent", s.agent)
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	for try := 0; ; try++ {
		resp, err := s.once(req)
		if try >= s.retries || !again(req, resp, err) || req.Context().Err() != nil || patience(req) > 0 {
			return resp, err
		}
		wait := backOff(try)
		if resp != nil {
			if asked := retryafter.Parse(resp.Header, time.Now()); asked > longest {
				return resp, err // nobody waits for that long unasked
			} else if asked > 0 {
				wait = asked
			}
			resp.Body.Close()
		}
		if err := s.pause(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// backOff is how long to wait before a try, with half of it by chance, so that
// those who failed together do not come back together.
func backOff(try int) time.Duration {
	full := 250 * time.Millisecond << min(try, 6)
	return full/2 + rand.N(full/2)
}

// again reports whether a request that went like this may be sent once more.
// A DELETE that was carried out would answer 404.
func again(req *http.Request, resp *http.Response, err error) bool {
	safe := req.Method == http.MethodGet || req.Method == http.MethodHead || req.Method == http.MethodPut ||
		req.Header.Get("Idempotency-Key") != ""
	whole := req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	return safe && whole && (err != nil || passing(resp.StatusCode))
}

// once sends once. The time is up when the answer is not there as a whole, or,
// of a stream, has not begun.
func (s *sender) once(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	limit := cmp.Or(patience(req), answerTime)
	if exports(req) {
		limit = max(limit, exportTime)
	}
	timer := time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w than %v", errTooSlow, limit)) })
	out := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	resp, err := s.http.Do(out)
	if err != nil {
		timer.Stop()
		cancel(nil)
		if cause := context.Cause(ctx); errors.Is(cause, errTooSlow) {
			err = cause
		}
		return nil, fmt.Errorf("no answer from Keyward: %w", err)
	}
	if streams(req) && resp.StatusCode == http.StatusOK {
		timer.Stop()
	}
	resp.Body = &body{resp.Body, func() { timer.Stop(); cancel(nil) }}
	return resp, nil
}

var errTooSlow = errors.New("it took longer")

// streams reports whether what is asked for may take as long as it likes.
func streams(req *http.Request) bool {
	return exports(req) || strings.HasPrefix(req.Header.Get("Accept"), "text/")
}

// exports reports whether an export is asked for, which begins when the server
// has found something.
func exports(req *http.Request) bool {
	accept := req.Header.Get("Accept")
	return strings.Contains(accept, "ndjson") || strings.HasPrefix(accept, "text/csv")
}

// body gives back what a request holds once its answer has been read.
type body struct {
	io.ReadCloser
	done func()
}

func (b *body) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
