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

// StreamTenantEvents tells a tenant's events as they commit.
func (s *server) StreamTenantEvents(c echo.Context, _ TenantPath, p StreamTenantEventsParams) error {
	return s.stream(c, of(c).tenantID, or(p.LastEventID, or(p.LastEventIDQuery, "")))
}

// StreamPlatformEvents tells every tenant's events as they commit.
func (s *server) StreamPlatformEvents(c echo.Context, p StreamPlatformEventsParams) error {
	return s.stream(c, uuid.Nil, or(p.LastEventID, or(p.LastEventIDQuery, "")))
}

// stream answers with the events of a tenant, or of all for uuid.Nil, that
// follow the one with the id after, as server-sent events (WHATWG HTML section
// 9.2). What can go wrong before the first byte is a problem like any other.
func (s *server) stream(c echo.Context, tenantID uuid.UUID, after string) error {
	ctx := c.Request().Context()
	leave, err := s.seats.take(of(c).TenantID)
	if err != nil {
		return err
	}
	defer leave()
	woken, stop, err := s.watch(ctx, of(c), tenantID)
	if err != nil {
		return err
	}
	defer stop()
	feed, err := s.cfg.Audit.Feed(ctx, tenantID, after)
	if err != nil {
		return err
	}
	beat := time.NewTicker(s.cfg.Streams.Heartbeat)
	defer beat.Stop()
	st := &stream{
		server: s, tenantID: tenantID, key: bearer(c.Request()), feed: feed, woken: woken, beat: beat.C,
		request: c.Request(), out: c.Response(), deadlines: http.NewResponseController(c.Response()),
	}
	st.log(c, st.serve(ctx))
	return nil
}

// watch wakes a stream when there may be events for it, or when the credential
// it was opened with may have changed.
func (s *server) watch(ctx context.Context, w *call, tenantID uuid.UUID) (woken <-chan struct{}, stop func(), err error) {
	switch {
	case tenantID == uuid.Nil:
		woken, stop = s.cfg.Audit.Watch()
	case w.TenantID != nil:
		woken, stop = s.cfg.Audit.Watch(tenantID)
	default: // the platform's credentials are in the history of its own tenant
		platform, _, err := s.cfg.Snapshots.Get(ctx, tenant.PlatformSlug)
		if err != nil {
			return nil, nil, err
		}
		woken, stop = s.cfg.Audit.Watch(tenantID, platform.TenantID)
	}
	return woken, stop, nil
}

// stream is one reader's. It holds a page of events while it writes them, and
// nothing while it waits.
type stream struct {
	server   *server
	tenantID uuid.UUID // uuid.Nil: every tenant
	key      string    // the reader's credential
	feed     *audit.Feed
	woken    <-chan struct{}
	beat     <-chan time.Time
	held     time.Duration // the last pause for events that must wait

	request   *http.Request
	out       *echo.Response
	deadlines *http.ResponseController
}

// ended is why a stream ends that its reader has not left. It is told as a
// comment.
type ended string

func (e ended) Error() string { return string(e) }

const (
	noCredential ended = "the API key is not valid any more"
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

// step tells what is new and returns how long to wait before the next look if
// nobody wakes the stream. While the database does not answer, a stream stays
// and tries again.
func (st *stream) step(ctx context.Context) (next time.Duration, err error) {
	var b audit.Batch
	if err = st.allowed(ctx); err == nil {
		b, err = st.feed.Next(ctx)
	}
	if why := ended(""); errors.As(err, &why) {
		return 0, err
	}
	if err != nil {
		return troubled, nil
	}
	if err := st.tell(b.Events); err != nil || b.More {
		return 0, err
	}
	if b.Held {
		st.held = min(max(2*st.held, shortly), longHeld)
		return st.held, nil
	}
	st.held = 0
	return st.server.cfg.Streams.Look, st.lives(ctx)
}

const (
	shortly  = 20 * time.Millisecond // for a transaction that began before
	longHeld = time.Second           // and takes its time
	troubled = 2 * time.Second
)

// allowed ends the stream when its credential ends.
func (st *stream) allowed(ctx context.Context) error {
	_, err := st.server.cfg.Tenants.Authenticate(ctx, st.key)
	if errors.Is(err, tenant.ErrUnauthenticated) {
		return noCredential
	}
	return err
}

// lives ends the stream when its tenant does, after the last event.
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
	if err := st.allowed(ctx); errors.Is(err, noCredential) { // it may have expired
		return err
	}
	return errors.Join(st.write(":\n\n"), st.flush())
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

// log says why a stream ended, to who wants to know.
func (st *stream) log(c echo.Context, why error) {
	st.server.cfg.Log.LogAttrs(c.Request().Context(), slog.LevelDebug, "stream ended",
		slog.String("request_id", c.Response().Header().Get(echo.HeaderXRequestID)), slog.Any("error", why))
}
