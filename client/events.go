package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"time"

	"github.com/keyward/keyward/internal/sse"
)

// An Event is a change as it was committed.
type Event struct {
	AuditEvent
	// ID is where to go on behind this event.
	ID string
	// JSON is the event as it came.
	JSON json.RawMessage
}

// A Turn is what becomes of the connection that events come by.
type Turn struct {
	// Open says that it is open: events come.
	Open bool
	// Reason is what the server said when it ended the stream: that the reader
	// was too slow, that the process stops. Empty if it broke without a word.
	Reason string
	// Err is why the connection is not open, or not any more.
	Err error
	// Held is how long the caller took, at most, over an event of the connection
	// that was cut off. A server that cannot write for ten seconds cuts off its
	// reader, and cannot say why.
	Held time.Duration
}

// Events yields the events of a tenant, or of all if tenant is empty, as they
// happen, without end. It begins with now, or behind the event whose ID is
// after. A stream that is cut off is opened again and goes on where it was, so
// that no event is missed and none comes twice; an error, which ends it, is the
// context's or one that does not pass, such as a credential that is not valid.
func (c *Client) Events(ctx context.Context, tenant, after string) iter.Seq2[Event, error] {
	return c.Follow(ctx, tenant, after, func(Turn) {})
}

// Follow is [Client.Events], and tells turn whenever the stream has been opened,
// was cut off, or could not be opened and will be tried again.
func (c *Client) Follow(ctx context.Context, tenant, after string, turn func(Turn)) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for failures := 0; ; {
			l := eventListener{turn: turn, yield: yield, after: &after}
			err := c.readStream(ctx, tenant, &l)
			if errors.Is(err, errEnough) {
				return
			}
			var p *Problem
			if ctx.Err() != nil || errors.As(err, &p) && !p.Passing() && p.Status < 500 {
				yield(Event{}, cmp.Or(ctx.Err(), err))
				return
			}
			turn(Turn{Reason: l.reason, Err: err, Held: l.held})
			if failures++; l.received {
				failures = 0
			}
			if err := pause(ctx, backOff(failures)); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

var errEnough = errors.New("the caller has heard enough")

// maxSilence is how long a stream may say nothing: Keyward is never silent for
// more than 15 seconds.
const maxSilence = 45 * time.Second

var errSilent = fmt.Errorf("nothing was heard for %v", maxSilence)

// eventListener passes the events of one stream to the caller.
type eventListener struct {
	turn  func(Turn)
	yield func(Event, error) bool
	after *string // the last id

	received bool          // anything at all, a heartbeat too
	reason   string        // the last comment, if nothing followed it
	held     time.Duration // the longest that the caller took over an event
}

// readStream opens one stream and reads it to its end.
func (c *Client) readStream(ctx context.Context, tenant string, l *eventListener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.openStream(ctx, tenant, *l.after)
	out, err := Stream(resp, err)
	if err != nil {
		return err
	}
	defer out.Close()
	if form, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); form != "text/event-stream" {
		return ErrNotKeyward
	}
	l.turn(Turn{Open: true})
	watch := time.AfterFunc(maxSilence, func() { cancel(errSilent) })
	defer watch.Stop()
	err = l.passEvents(out, watch)
	if errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}

// passEvents reads events until the stream or the caller ends it. watch fires
// when the server has been silent for too long.
func (l *eventListener) passEvents(out io.Reader, watch *time.Timer) error {
	stream := sse.NewReader(readNotifier{out, func() { watch.Reset(maxSilence); l.received = true }}, *l.after, maxAnswer)
	for {
		e, err := stream.Read()
		l.reason = stream.Comment
		switch {
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		watch.Stop() // how long the caller takes does not count as silence
		if err := l.passEvent(e, stream.ID); err != nil {
			return err
		}
		watch.Reset(maxSilence)
	}
}

// readNotifier calls onRead after each Read.
type readNotifier struct {
	io.Reader
	onRead func()
}

func (r readNotifier) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.onRead()
	}
	return n, err
}

// passEvent yields one event and moves the position behind it.
func (l *eventListener) passEvent(e sse.Event, id string) error {
	*l.after = id
	if e.Data == nil {
		return nil
	}
	event := Event{ID: id, JSON: e.Data}
	if json.Unmarshal(e.Data, &event.AuditEvent) != nil {
		return ErrNotKeyward
	}
	began := time.Now()
	if !l.yield(event, nil) {
		return errEnough
	}
	l.held = max(l.held, time.Since(began))
	return nil
}

// openStream asks for the events of a tenant, or of all, behind the event after.
func (c *Client) openStream(ctx context.Context, tenant, after string) (*http.Response, error) {
	edit := []RequestEditorFn{Accept("text/event-stream")}
	if after != "" {
		edit = append(edit, header("Last-Event-ID", after))
	}
	if tenant == "" {
		return c.Requests.StreamPlatformEvents(ctx, nil, edit...)
	}
	return c.Requests.StreamTenantEvents(ctx, tenant, nil, edit...)
}
