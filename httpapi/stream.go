package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// stream serves one reader. It holds a page of events while writing it, and
// none while waiting.
type stream struct {
	server   *auditServer
	tenantID uuid.UUID // uuid.Nil: every tenant
	feed     eventSource
	woken    <-chan struct{}
	beat     <-chan time.Time
	held     time.Duration // the last pause for events behind an open transaction
	silent   bool          // the current trouble has been logged

	request   *http.Request
	out       *echo.Response
	deadlines *http.ResponseController
}

// endReason is why the server ends a stream. The reader gets it as a comment.
type endReason string

func (e endReason) Error() string { return string(e) }

const (
	noCredential endReason = "the credential is not valid any more" // #nosec G101 -- a text for people
	noTenant     endReason = "the tenant was deleted"
	tooSlow      endReason = "too slow; go on with Last-Event-ID"
	shuttingDown endReason = "this process is shutting down; go on with Last-Event-ID"
)

// serve writes events until the stream ends, and returns the reason.
func (st *stream) serve(ctx context.Context) error {
	err := st.writeHeader()
	for next := time.Duration(0); err == nil; {
		if next, err = st.readBatch(ctx); err == nil {
			err = st.wait(ctx, next)
		}
	}
	if why := endReason(""); errors.As(err, &why) {
		return errors.Join(err, st.writeText(": "+string(why)+"\n\n"), st.flush())
	}
	return err
}

// readBatch writes the new events and returns how long to wait before the next
// read if no notification arrives. While the database is unavailable the stream
// stays open and retries.
func (st *stream) readBatch(ctx context.Context) (next time.Duration, err error) {
	var b eventPage
	gone, err := st.checkCredential(ctx) // before the read, which then includes what was committed until now
	if err == nil {
		b, err = st.feed.next(ctx, gone != nil)
	}
	if why := endReason(""); errors.As(err, &why) {
		return 0, err
	}
	if err != nil {
		st.logTrouble(err)
		return retryDelay, nil
	}
	st.silent = false
	if err := st.writeEvents(b.texts); err != nil || b.more {
		return 0, err
	}
	if b.held {
		st.held = min(max(2*st.held, firstHold), longHeld)
		return st.held, nil
	}
	st.held = 0
	return st.server.cfg.Streams.Look, gone
}

const (
	firstHold  = 20 * time.Millisecond // for a transaction that began before
	longHeld   = time.Second           // and takes its time
	retryDelay = 2 * time.Second
)

// logTrouble logs the first of several consecutive errors.
func (st *stream) logTrouble(err error) {
	if !st.silent {
		st.logStream(slog.LevelWarn, "event stream: reading events failed, retrying", err)
	}
	st.silent = true
}

// checkCredential ends the stream when its credential is revoked or expires. If
// the tenant was deleted, which revokes its credentials too, the remaining
// events are written first: gone is the reason to end the stream after them.
func (st *stream) checkCredential(ctx context.Context) (gone, err error) {
	err = st.server.gate.authenticateAgain(ctx, st.request, st.tenantRef())
	gone = st.checkTenant(ctx)
	switch {
	case !errors.Is(err, tenant.ErrUnauthenticated) && !errors.Is(err, tenant.ErrNoRole):
		return gone, err
	case gone != nil:
		return gone, nil
	}
	return nil, noCredential
}

// tenantRef returns the id of the stream's tenant, or "".
func (st *stream) tenantRef() string {
	if st.tenantID == uuid.Nil {
		return ""
	}
	return st.tenantID.String()
}

// checkTenant returns noTenant if the tenant was deleted.
func (st *stream) checkTenant(ctx context.Context) error {
	if st.tenantID == uuid.Nil {
		return nil
	}
	if _, _, err := st.server.cfg.Snapshots.Get(ctx, st.tenantID.String()); errors.Is(err, tenant.ErrNotFound) {
		return noTenant
	}
	return nil
}

// wait returns when it is time to read again. Comments keep the connection
// alive, and their absence tells the reader that it is broken.
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
	_, err := st.checkCredential(ctx)
	if why := endReason(""); errors.As(err, &why) { // it may have expired
		return why
	}
	return errors.Join(st.writeText(":\n\n"), st.flush())
}

// logStream logs an event in the life of a stream.
func (st *stream) logStream(level slog.Level, what string, why error) {
	st.server.cfg.Log.LogAttrs(st.request.Context(), level, what,
		slog.String("request_id", st.out.Header().Get(echo.HeaderXRequestID)), slog.Any("error", why))
}

// writeHeader sends the headers and the position at which the stream begins, so
// that a reader that is cut off before the first event can resume there. An id
// without data is not an event.
func (st *stream) writeHeader() error {
	h := st.out.Header()
	h.Set(echo.HeaderContentType, mimeEventStream)
	if st.request.ProtoMajor == 1 {
		h.Set("Connection", "close") // the deadlines are the connection's
	}
	h.Set("X-Accel-Buffering", "no") // or nginx keeps events to itself
	st.out.WriteHeader(http.StatusOK)
	return errors.Join(st.writeText("retry: 2000\nid: "+st.feed.position()+"\n\n"), st.flush())
}

// writeEvents writes events. A reader that takes longer than Streams.Patience
// is disconnected, so that slow readers cannot make the process hold many
// pages.
func (st *stream) writeEvents(texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	now := st.server.cfg.Now
	began := now()
	for _, text := range texts {
		if err := st.writeText(text); err != nil {
			return err
		}
		if now().Sub(began) > st.server.cfg.Streams.Patience {
			return tooSlow
		}
	}
	return st.flush()
}

// eventSource is where a stream reads its events.
type eventSource interface {
	// next returns the events that follow, possibly none. If last is set, the page
	// and those that follow it have all that is committed, for a stream that ends.
	next(ctx context.Context, last bool) (eventPage, error)
	// position returns the id from which a later stream can go on.
	position() string
}

// eventPage is a page of events, as they are written.
type eventPage struct {
	texts []string
	more  bool // more events are ready
	held  bool // see audit.Batch
}

// auditFeed is the source of streams of audit events.
type auditFeed struct{ *audit.Feed }

func (f auditFeed) position() string { return f.Position() }

func (f auditFeed) next(ctx context.Context, _ bool) (eventPage, error) {
	b, err := f.Next(ctx)
	if err != nil {
		return eventPage{}, err
	}
	page := eventPage{texts: make([]string, len(b.Events)), more: b.More, held: b.Held}
	for i, e := range b.Events {
		if page.texts[i], err = eventText(e); err != nil {
			return eventPage{}, err
		}
	}
	return page, nil
}

// eventText formats an event. Its lines cannot be broken: the database
// restricts the characters of an action, and JSON is one line.
func eventText(e audit.FeedEvent) (string, error) {
	data, err := encodeJSON(renderEvent(e.Event)) // ends with a line feed
	return "id: " + e.Position + "\nevent: " + string(e.Action) + "\ndata: " + string(data) + "\n", err
}

// writeText writes to the reader's buffer. Each write has its own deadline,
// independent of the server's write timeout; a reader that reads nothing loses
// its connection.
func (st *stream) writeText(text string) error {
	_ = st.deadlines.SetWriteDeadline(time.Now().Add(st.server.cfg.Streams.Patience)) // if unsupported: until the client disconnects
	_, err := st.out.Write([]byte(text))
	return err
}

func (st *stream) flush() error { return st.deadlines.Flush() }
