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

// An Event is a committed change.
type Event struct {
	AuditEvent
	// ID is the position after this event, for [Client.Events].
	ID string
	// JSON is the event as it was received.
	JSON json.RawMessage
}

// A Turn is a change in the connection that events arrive by.
type Turn struct {
	// Open means that the connection is open.
	Open bool
	// Reason is the server's reason for ending the stream: that the reader was too
	// slow, or that the process stops. It is empty if the connection broke.
	Reason string
	// Err is why the connection is closed or could not be opened.
	Err error
	// Held is the longest time that the caller took over one event of the connection
	// that was cut off. A server that cannot write for ten seconds cuts the reader
	// off without a reason.
	Held time.Duration
}

// Events yields the events of a tenant, or of all tenants if tenant is empty, as
// they happen, without end. It starts now, or after the event with the ID after. A
// stream that is cut off is resumed at its position, so that no event is missed or
// repeated. It ends with an error: that of ctx, or one that retrying cannot cure,
// such as an invalid credential.
func (c *Client) Events(ctx context.Context, tenant, after string) iter.Seq2[Event, error] {
	return c.Follow(ctx, tenant, after, func(Turn) {})
}

// Follow is [Client.Events] and also calls turn whenever the stream has been opened
// or cut off, or could not be opened and will be tried again.
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
			if err := sleepFor(ctx, retryDelay(failures)); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

var errEnough = errors.New("the caller has stopped reading")

// maxSilence is how long a stream may be silent before it counts as lost. Keyward
// sends a heartbeat at least every 15 seconds.
const maxSilence = 45 * time.Second

var errSilent = fmt.Errorf("nothing was received for %v", maxSilence)

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
		edit = append(edit, setHeader("Last-Event-ID", after))
	}
	if tenant == "" {
		return c.Requests.StreamPlatformEvents(ctx, nil, edit...)
	}
	return c.Requests.StreamTenantEvents(ctx, tenant, nil, edit...)
}
