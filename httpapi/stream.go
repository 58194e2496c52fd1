package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// stream is one reader's. It holds a page of events while it writes them, and
// nothing while it waits.
type stream struct {
	server   *auditServer
	tenantID uuid.UUID // uuid.Nil: every tenant
	key      string    // the reader's credential
	feed     *audit.Feed
	woken    <-chan struct{}
	beat     <-chan time.Time
	held     time.Duration // the last pause for events that must wait
	silent   bool          // about the trouble there is

	request   *http.Request
	out       *echo.Response
	deadlines *http.ResponseController
}

// ended is why a stream ends that its reader has not left. It is told as a
// comment.
type ended string

func (e ended) Error() string { return string(e) }

const (
	noCredential ended = "the credential is not valid any more"
	noTenant     ended = "the tenant was deleted"
	tooSlow      ended = "too slow; go on with Last-Event-ID"
	shuttingDown ended = "this process is shutting down; go on with Last-Event-ID"
)

// serve writes until the stream ends, and says why.
func (st *stream) serve(ctx context.Context) error {
	err := st.begin()
	for next := time.Duration(0); err == nil; {
		if next, err = st.step(ctx); err == nil {
			err = st.wait(ctx, next)
		}
	}
	if why := ended(""); errors.As(err, &why) {
		return errors.Join(err, st.write(": "+string(why)+"\n\n"), st.flush())
	}
	return err
}

// step tells what is new and returns how long to wait before the next look if
// nobody wakes the stream. While the database does not answer, a stream stays
// and tries again.
func (st *stream) step(ctx context.Context) (next time.Duration, err error) {
	var b audit.Batch
	gone, err := st.allowed(ctx) // before the look: what was committed until then is in it
	if err == nil {
		b, err = st.feed.Next(ctx)
	}
	if why := ended(""); errors.As(err, &why) {
		return 0, err
	}
	if err != nil {
		st.trouble(err)
		return troubled, nil
	}
	st.silent = false
	if err := st.tell(b.Events); err != nil || b.More {
		return 0, err
	}
	if b.Held {
		st.held = min(max(2*st.held, shortly), longHeld)
		return st.held, nil
	}
	st.held = 0
	return st.server.cfg.Streams.Look, gone
}

const (
	shortly  = 20 * time.Millisecond // for a transaction that began before
	longHeld = time.Second           // and takes its time
	troubled = 2 * time.Second
)

// trouble logs the first of several errors in a row.
func (st *stream) trouble(err error) {
	if !st.silent {
		st.log(slog.LevelWarn, "stream waits", err)
	}
	st.silent = true
}

// allowed ends the stream when its credential ends, but lets it come to the end
// of its tenant, with which credentials end: their readers hear of that. gone is
// the reason to end that there is once all has been told.
func (st *stream) allowed(ctx context.Context) (gone, err error) {
	_, err = st.server.gate.principal(ctx, st.key)
	gone = st.lives(ctx)
	switch {
	case !errors.Is(err, tenant.ErrUnauthenticated) && !errors.Is(err, tenant.ErrNoRole):
		return gone, err
	case gone != nil:
		return gone, nil
	}
	return nil, noCredential
}

// lives says that the tenant was deleted.
func (st *stream) lives(ctx context.Context) error {
	if st.tenantID == uuid.Nil {
		return nil
	}
	if _, _, err := st.server.cfg.Snapshots.Get(ctx, st.tenantID.String()); errors.Is(err, tenant.ErrNotFound) {
		return noTenant
	}
	return nil
}

// wait returns when it is time to look again. Comments keep the connection
// alive; a reader that hears none for long knows that it is alone.
func (st *stream) wait(ctx context.Context, d time.Duration) error {
	again := time.NewTimer(d)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-st.server.cfg.Streams.Stop:
			return shuttingDown
		case <-st.woken:
			return nil
		case <-again.C:
			return nil
		case <-st.beat:
			if err := st.heartbeat(ctx); err != nil {
				return err
			}
		}
	}
}

func (st *stream) heartbeat(ctx context.Context) error {
	_, err := st.allowed(ctx)
	if why := ended(""); errors.As(err, &why) { // it may have expired
		return why
	}
	return errors.Join(st.write(":\n\n"), st.flush())
}

// log says what became of a stream.
func (st *stream) log(level slog.Level, what string, why error) {
	st.server.cfg.Log.LogAttrs(st.request.Context(), level, what,
		slog.String("request_id", st.out.Header().Get(echo.HeaderXRequestID)), slog.Any("error", why))
}

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
func (st *stream) tell(events []audit.Told) error {
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
func eventText(e audit.Told) (string, error) {
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
