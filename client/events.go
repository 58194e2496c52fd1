package client

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strings"
	"time"
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
			l := listener{turn: turn, yield: yield, after: &after}
			err := c.listen(ctx, tenant, &l)
			if errors.Is(err, errEnough) {
				return
			}
			var p *Problem
			if ctx.Err() != nil || errors.As(err, &p) && !p.Passing() && p.Status < 500 {
				yield(Event{}, cmp.Or(ctx.Err(), err))
				return
			}
			turn(Turn{Reason: l.reason, Err: err, Held: l.held})
			if failures++; l.heard {
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

// silence is how long a stream may say nothing: Keyward is never silent for
// more than 15 seconds.
const silence = 45 * time.Second

var errSilent = fmt.Errorf("nothing was heard for %v", silence)

// listener hears one stream.
type listener struct {
	turn  func(Turn)
	yield func(Event, error) bool
	after *string // the last id

	heard  bool          // anything at all
	reason string        // the comment that was heard last, if nothing followed it
	held   time.Duration // the longest that the caller took over an event
}

// listen reads one stream to its end.
func (c *Client) listen(ctx context.Context, tenant string, l *listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.stream(ctx, tenant, *l.after)
	out, err := Stream(resp, err)
	if err != nil {
		return err
	}
	defer out.Close()
	if form, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); form != "text/event-stream" {
		return ErrNotKeyward
	}
	l.turn(Turn{Open: true})
	watch := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watch.Stop()
	err = readEvents(out, func(e Event) error {
		watch.Stop() // how long the caller takes is its own affair
		defer watch.Reset(silence)
		return l.event(e)
	}, func(line string) {
		watch.Reset(silence)
		l.line(line)
	})
	if errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}

func (l *listener) event(e Event) error {
	if e.ID != "" {
		*l.after = e.ID
	}
	if e.JSON == nil {
		return nil
	}
	began := time.Now()
	if !l.yield(e, nil) {
		return errEnough
	}
	l.held = max(l.held, time.Since(began))
	return nil
}

func (l *listener) line(text string) {
	l.heard = true
	if comment, is := strings.CutPrefix(text, ":"); is || text != "" {
		l.reason = ""
		if is {
			l.reason = strings.TrimSpace(comment)
		}
	}
}

func (c *Client) stream(ctx context.Context, tenant, after string) (*http.Response, error) {
	edit := []RequestEditorFn{Accept("text/event-stream")}
	if after != "" {
		edit = append(edit, header("Last-Event-ID", after))
	}
	if tenant == "" {
		return c.Requests.StreamPlatformEvents(ctx, nil, edit...)
	}
	return c.Requests.StreamTenantEvents(ctx, tenant, nil, edit...)
}

// readEvents reads server-sent events (WHATWG HTML section 9.2.6). An event is
// complete with its empty line; one that is cut off does not count.
func readEvents(from io.Reader, got func(Event) error, line func(text string)) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxAnswer)
	for e, data := (Event{}), ""; lines.Scan(); {
		line(lines.Text())
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if data != "" {
				e.JSON = json.RawMessage(data)
				if json.Unmarshal(e.JSON, &e.AuditEvent) != nil {
					return ErrNotKeyward
				}
			}
			if err := got(e); err != nil {
				return err
			}
			e, data = Event{}, ""
		case name == "id":
			e.ID = value
		case name == "data":
			data += value
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
