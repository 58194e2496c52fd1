package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
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

// Events yields the events of a tenant, or of all if tenant is empty, as they
// happen, without end. It begins with now, or behind the event whose ID is
// after. A stream that is cut off is opened again and goes on where it was, so
// that no event is missed and none comes twice; an error, which ends it, is the
// context's or one that does not pass, such as a credential that is not valid.
func (c *Client) Events(ctx context.Context, tenant, after string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for failures := 0; ; {
			heard, err := c.listen(ctx, tenant, &after, yield)
			if errors.Is(err, errEnough) {
				return
			}
			var p *Problem
			if ctx.Err() != nil || errors.As(err, &p) && !p.Passing() && p.Status < 500 {
				yield(Event{}, err)
				return
			}
			if failures++; heard {
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

// listen reads one stream to its end. It reports whether it said anything.
func (c *Client) listen(ctx context.Context, tenant string, after *string, yield func(Event, error) bool) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, err := Stream(c.stream(ctx, tenant, *after))
	if err != nil {
		return false, err
	}
	defer out.Close()
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()
	err = readEvents(out, func(e Event) error {
		if e.ID != "" {
			*after = e.ID
		}
		if e.JSON != nil && !yield(e, nil) {
			return errEnough
		}
		return nil
	}, func() { heard = true; watch.Reset(silence) })
	return heard, err
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
func readEvents(from io.Reader, got func(Event) error, line func()) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxAnswer)
	for e, data := (Event{}), ""; lines.Scan(); {
		line()
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
