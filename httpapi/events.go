package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

// StreamTenantEvents streams a tenant's events as they commit.
func (s *auditServer) StreamTenantEvents(c echo.Context, _ TenantPath, p StreamTenantEventsParams) error {
	return s.serveStream(c, callOf(c).tenantID, valueOr(p.LastEventID, valueOr(p.LastEventIDQuery, "")))
}

// StreamPlatformEvents streams the events of all tenants as they commit.
func (s *auditServer) StreamPlatformEvents(c echo.Context, p StreamPlatformEventsParams) error {
	return s.serveStream(c, uuid.Nil, valueOr(p.LastEventID, valueOr(p.LastEventIDQuery, "")))
}

// serveStream answers with server-sent events (WHATWG HTML section 9.2): those
// of a tenant, or of all tenants for uuid.Nil, after the event with the id
// after. An error before the first byte is answered with a problem.
func (s *auditServer) serveStream(c echo.Context, tenantID uuid.UUID, after string) error {
	ctx := c.Request().Context()
	leave, err := s.streams.takeSlot(callOf(c).TenantID)
	if err != nil {
		return err
	}
	defer leave()
	woken, stop, err := s.watchEvents(ctx, callOf(c), tenantID)
	if err != nil {
		return err
	}
	defer stop()
	feed, err := s.cfg.Audit.Feed(ctx, tenantID, after)
	if err != nil {
		return err
	}
	s.runStream(c, tenantID, auditFeed{feed}, woken)
	return nil
}

// runStream answers with the events of a source until the stream ends.
func (s *auditServer) runStream(c echo.Context, tenantID uuid.UUID, feed eventSource, woken <-chan struct{}) {
	beat := time.NewTicker(s.cfg.Streams.Heartbeat)
	defer beat.Stop()
	st := &stream{
		server: s, tenantID: tenantID, feed: feed, woken: woken, beat: beat.C,
		request: c.Request(), out: c.Response(), deadlines: http.NewResponseController(c.Response()),
	}
	st.logStream(slog.LevelDebug, "event stream ended", st.serve(callOf(c).open))
}

// watchEvents returns a channel that wakes a stream when it may have new
// events, or when its credential may have changed.
func (s *auditServer) watchEvents(ctx context.Context, w *call, tenantID uuid.UUID) (woken <-chan struct{}, stop func(), err error) {
	switch {
	case tenantID == uuid.Nil:
		woken, stop = s.cfg.Audit.Watch()
	case w.TenantID != nil:
		woken, stop = s.cfg.Audit.Watch(tenantID)
	default: // events of the platform's credentials belong to its own tenant
		platform, _, err := s.cfg.Snapshots.Get(ctx, tenant.PlatformSlug)
		if err != nil {
			return nil, nil, err
		}
		woken, stop = s.cfg.Audit.Watch(tenantID, platform.TenantID)
	}
	return woken, stop, nil
}

const mimeEventStream = "text/event-stream"

// Streams limits the event streams and exports of this process. Zero fields have defaults.
type Streams struct {
	Most      int             // open at once; 1,000
	MostKeys  int             // of key events; 10,000
	Exports   int             // exports of the audit history; 40
	Share     float64         // of each of these for one tenant's credentials, see slotPool.takeSlot; 0.1
	Heartbeat time.Duration   // between comments; 15 s
	Look      time.Duration   // between reads without a notification; 30 s
	Patience  time.Duration   // for a reader to receive a page of events; 10 s
	Stop      <-chan struct{} // closed: all streams end; nil: never
}

func (s Streams) withDefaults() Streams {
	s.Most = cmp.Or(s.Most, 1000)
	s.MostKeys = cmp.Or(s.MostKeys, 10_000)
	s.Exports = cmp.Or(s.Exports, exportsAtOnce)
	s.Share = cmp.Or(s.Share, 0.1)
	s.Heartbeat = cmp.Or(s.Heartbeat, 15*time.Second)
	s.Look = cmp.Or(s.Look, 30*time.Second)
	s.Patience = cmp.Or(s.Patience, 10*time.Second)
	return s
}
