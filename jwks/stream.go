package jwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keyward/keyward/internal/retryafter"
	"github.com/keyward/keyward/internal/sse"
)

var (
	errSilent    = errors.New("the stream was silent for too long")
	errNoStream  = errors.New("the answer is not an event stream")
	errEncoded   = errors.New("the answer is encoded, although that was not asked for")
	errStreamEnd = errors.New("the stream has ended")
)

// maxEvent bounds an event, and a line of one, in bytes.
const maxEvent = 256 << 10

// connect opens a stream and reads it to its end.
func (s *subscription) connect(ctx context.Context) (err error) {
	ctx, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	silence := time.AfterFunc(s.push.Silence, func() { hangUp(errSilent) })
	defer silence.Stop()
	defer func() {
		if errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent
		}
	}()
	response, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	s.client.stats.streams.Add(1)
	defer s.client.stats.streams.Add(-1)
	s.client.config.Logger.Debug("Listening to events", slog.String("url", redactURL(s.push.URL)), slog.Bool("resumed", s.last != ""))
	if s.last == "" {
		s.refetch() // of what happened before this stream began nobody will tell
	}
	onRead := func() { silence.Reset(s.push.Silence) }
	return s.readEvents(sse.NewReader(readNotifier{response.Body, onRead}, s.last, maxEvent))
}

// open requests the stream. If the server refuses to resume after the last event,
// the next stream begins anew.
func (s *subscription) open(ctx context.Context) (*http.Response, error) {
	request, err := s.request(ctx)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	response, err := s.web.Do(request)
	if err != nil {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err // its URL may have a password
		}
		return nil, &FetchError{URL: redactURL(s.push.URL), Err: err}
	}
	if err := checkStream(response); err != nil {
		response.Body.Close()
		if refusesPosition(response.StatusCode) {
			s.last = ""
		}
		after := retryafter.Parse(response.Header, time.Now())
		return nil, &FetchError{URL: redactURL(s.push.URL), Status: response.StatusCode, Err: err, after: after}
	}
	return response, nil
}

func (s *subscription) request(ctx context.Context) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.push.URL, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range s.push.Header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Accept-Encoding", "identity") // nothing is held back to be compressed, nothing swells
	request.Header.Set("Cache-Control", "no-store")
	if s.last != "" {
		request.Header.Set("Last-Event-ID", s.last)
	}
	if s.push.Token == nil {
		return request, nil
	}
	token, err := s.push.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("no token for the event stream: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return request, nil
}

// checkStream returns why an answer is no event stream, or nil.
func checkStream(r *http.Response) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.StatusCode != http.StatusOK:
		return fmt.Errorf("the answer is %.100q", r.Status)
	case err != nil || kind != "text/event-stream":
		return errNoStream
	case !strings.EqualFold(cmp.Or(r.Header.Get("Content-Encoding"), "identity"), "identity"):
		return errEncoded
	}
	return nil
}

// refusesPosition reports whether a status may mean that the server cannot resume
// at the position, rather than that it refuses this client or this moment.
func refusesPosition(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return status/100 == 4
}
