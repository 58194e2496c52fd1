package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
)

// begin says where the stream begins: a reader that is cut off before the
// first event can go on from there. An id without data makes no event.
func (st *stream) begin() error {
	h := st.out.Header()
	h.Set(echo.HeaderContentType, mimeEventStream)
	if st.request.ProtoMajor == 1 {
		h.Set("Connection", "close") // the deadlines are the connection's
	}
	h.Set("X-Accel-Buffering", "no") // or nginx keeps events to itself
	st.out.WriteHeader(http.StatusOK)
	return errors.Join(st.write("retry: 2000\nid: "+st.feed.Position()+"\n\n"), st.flush())
}

// tell writes events. Who takes too long is sent away, so that nobody can make
// this process hold many pages for ever.
func (st *stream) tell(events []audit.FeedEvent) error {
	if len(events) == 0 {
		return nil
	}
	now := st.server.cfg.Now
	began := now()
	for _, e := range events {
		text, err := eventText(e)
		if err != nil {
			return err
		}
		if err := st.write(text); err != nil {
			return err
		}
		if now().Sub(began) > st.server.cfg.Streams.Patience {
			return tooSlow
		}
	}
	return st.flush()
}

// eventText is an event as it is written. No line of it can be broken: the
// database knows what an action looks like, and JSON is one line.
func eventText(e audit.FeedEvent) (string, error) {
	var b bytes.Buffer
	b.WriteString("id: " + e.Position + "\nevent: " + string(e.Action) + "\ndata: ")
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(renderEvent(e.Event)) // ends with a line feed
	b.WriteByte('\n')
	return b.String(), err
}

// write writes a text to the reader, or to what is flushed later. A reader
// that takes nothing at all loses its connection; every stream has a deadline
// of its own, whatever that of the server is.
func (st *stream) write(text string) error {
	_ = st.deadlines.SetWriteDeadline(time.Now().Add(st.server.cfg.Streams.Patience)) // without one: until it leaves
	_, err := st.out.Write([]byte(text))
	return err
}

func (st *stream) flush() error { return st.deadlines.Flush() }
