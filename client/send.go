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

// sender adds the credential to requests, and repeats those that may be repeated.
type sender struct {
	http     http.Client
	key      string
	agent    string
	insecure bool
	retries  int
	once     string // the Idempotency-Key of changes; empty: one for each
	sleep    func(context.Context, time.Duration) error
}

// Do implements [HttpRequestDoer]. It returns the last answer, whatever its
// status is.
func (s *sender) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("User-Agent", s.agent)
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if s.retries > 0 && isChange(req) && req.Header.Get(headerKey) == "" {
		req.Header.Set(headerKey, cmp.Or(s.once, NewKey()))
	}
	for try := 0; ; try++ {
		resp, err := s.sendOnce(req)
		if try >= s.retries || !isRetryable(req, resp, err) || req.Context().Err() != nil || answerLimit(req) > 0 {
			return resp, noAnswer(req, err)
		}
		wait := retryDelay(try)
		if resp != nil {
			if asked := retryafter.Parse(resp.Header, time.Now()); asked > longest {
				return resp, err // too long to wait without being asked to
			} else if asked > 0 {
				wait = asked
			}
			resp.Body.Close()
		}
		if err := s.sleep(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// retryDelay returns how long to wait before a try, half of it at random, so that
// clients that failed together do not come back together.
func retryDelay(try int) time.Duration {
	full := 250 * time.Millisecond << min(try, 6)
	return full/2 + rand.N(full/2) // #nosec G404 -- jitter
}

const headerKey = "Idempotency-Key"

// isChange reports whether a request changes something: signing and verifying do not.
func isChange(req *http.Request) bool {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		return false
	}
	path := req.URL.Path
	return !strings.HasSuffix(path, "/sign") && !strings.HasSuffix(path, "/tokens") && !strings.HasSuffix(path, "/tokens/batch") &&
		!strings.HasSuffix(path, "/tokens/verify")
}

// noAnswer says of a change without an answer that it may have been made.
func noAnswer(req *http.Request, err error) error {
	if err == nil || !isChange(req) {
		return err
	}
	return &NoAnswerError{IdempotencyKey: req.Header.Get(headerKey), Err: err}
}

// isRetryable reports whether a request with that outcome may be sent once more.
func isRetryable(req *http.Request, resp *http.Response, err error) bool {
	safe := req.Method == http.MethodGet || req.Method == http.MethodHead || req.Method == http.MethodPut || req.Header.Get(headerKey) != ""
	whole := req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	return safe && whole && (err != nil || isPassing(resp.StatusCode))
}

// sendOnce sends a request. The time limit is for the whole answer, or for the
// beginning of a stream.
func (s *sender) sendOnce(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	limit := cmp.Or(answerLimit(req), answerTime)
	if isExport(req) {
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
	if isStream(req) && resp.StatusCode == http.StatusOK {
		timer.Stop()
	}
	resp.Body = &body{resp.Body, func() { timer.Stop(); cancel(nil) }}
	return resp, nil
}

var errTooSlow = errors.New("it took longer")

// isStream reports whether a request is for an answer without a time limit.
func isStream(req *http.Request) bool {
	return isExport(req) || strings.HasPrefix(req.Header.Get("Accept"), "text/")
}

// isExport reports whether a request is for an export, which begins when the server
// has found the first match.
func isExport(req *http.Request) bool {
	accept := req.Header.Get("Accept")
	return strings.Contains(accept, "ndjson") || strings.HasPrefix(accept, "text/csv")
}

// body releases the resources of a request when its answer is closed.
type body struct {
	io.ReadCloser
	done func()
}

func (b *body) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
