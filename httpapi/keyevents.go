package httpapi

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// StreamKeyEvents streams the events of a tenant that verifiers need.
func (s *auditServer) StreamKeyEvents(c echo.Context, _ TenantPath, p StreamKeyEventsParams) error {
	ctx, tenantID := c.Request().Context(), callOf(c).tenantID
	leave, err := s.keys.slots.takeSlot(callOf(c).TenantID)
	if err != nil {
		return err
	}
	defer leave()
	platform, _, err := s.cfg.Snapshots.Get(ctx, tenant.PlatformSlug) // events of the platform's credentials belong to its own tenant
	if err != nil {
		return err
	}
	reader, stop := s.keys.join(tenantID, platform.TenantID)
	defer stop()
	// Joined before the place is read, so that no event falls between.
	if err := reader.begin(ctx, valueOr(p.LastEventID, valueOr(p.LastEventIDQuery, ""))); err != nil {
		return err
	}
	s.runStream(c, tenantID, reader, reader.woken)
	return nil
}

// keyFeeds are the feeds of the tenants that somebody listens to. Thousands of verifiers
// may listen to one tenant: the events are read and formatted once for all of them.
type keyFeeds struct {
	cfg   *Config
	slots *slotPool

	mu sync.Mutex
	of map[uuid.UUID]*keyFeed
}

func newKeyFeeds(cfg *Config) (*keyFeeds, error) {
	slots, err := newSlotPool(cfg.Metrics, "key event stream", "keyward_key_event_streams", cfg.Streams.MostKeys, cfg.Streams.Share)
	return &keyFeeds{cfg: cfg, slots: slots, of: map[uuid.UUID]*keyFeed{}}, err
}

// keyFeed is one tenant's feed, with its latest events in memory.
type keyFeed struct {
	feeds    *keyFeeds
	tenantID uuid.UUID
	end      context.CancelFunc

	mu      sync.Mutex
	readers map[*keyReader]struct{}
	begun   bool       // whether the fields below are valid
	first   int64      // every event after this seq is in recent
	last    int64      // the seq up to which the feed has read
	at      string     // the position of last
	recent  []keyEvent // the latest, oldest first
}

// keyEvent is an event as it is written.
type keyEvent struct {
	seq  int64
	text string
}

// maxRecent is how many events of a tenant are in memory, for readers that have fallen
// behind by less than that. Others read for themselves.
const maxRecent = 64

// join adds a reader to a tenant's feed, which the first one starts, until stop is
// called.
func (k *keyFeeds) join(tenantID, platformID uuid.UUID) (r *keyReader, stop func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.of[tenantID]
	if f == nil {
		ctx, end := context.WithCancel(context.Background())
		f = &keyFeed{feeds: k, tenantID: tenantID, end: end, readers: map[*keyReader]struct{}{}}
		k.of[tenantID] = f
		go f.run(ctx, platformID)
	}
	woken := make(chan struct{}, 1)
	r = &keyReader{feed: f, woken: woken, wake: woken}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers[r] = struct{}{}
	return r, func() { k.leave(r) }
}

// leave removes a reader; the last one ends the feed.
func (k *keyFeeds) leave(r *keyReader) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if delete(f.readers, r); len(f.readers) == 0 {
		delete(k.of, f.tenantID)
		f.end()
	}
}

// run reads the tenant's events until ctx is done. While the database is unavailable it
// tries again.
func (f *keyFeed) run(ctx context.Context, platformID uuid.UUID) {
	woken, stop := f.feeds.cfg.Audit.Watch(f.tenantID, platformID)
	defer stop()
	var feed *audit.Feed
	for silent := false; ctx.Err() == nil; {
		next := f.feeds.cfg.Streams.Look
		more, err := f.read(ctx, &feed)
		switch {
		case err != nil && ctx.Err() == nil:
			if !silent {
				f.feeds.cfg.Log.Warn("key event feed: reading events failed, retrying", "tenant_id", f.tenantID, "error", err)
			}
			silent, next = true, retryDelay
		case more:
			continue
		default:
			silent = false
		}
		f.wakeReaders()
		again := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-woken:
		case <-again.C:
		}
		again.Stop()
	}
}

// openPatience bounds the wait for the database when a feed is opened.
const openPatience = 10 * time.Second

// read opens the feed or reads a page of it, and keeps the events for verifiers.
func (f *keyFeed) read(ctx context.Context, feed **audit.Feed) (more bool, err error) {
	if *feed == nil {
		ctx, cancel := context.WithTimeout(ctx, openPatience)
		defer cancel()
		opened, err := f.feeds.cfg.Audit.Feed(ctx, f.tenantID, "")
		if err != nil {
			return false, err
		}
		*feed = opened
		f.mu.Lock()
		defer f.mu.Unlock()
		f.begun, f.first, f.last, f.at = true, opened.Seq(), opened.Seq(), opened.Position()
		return false, nil
	}
	b, err := (*feed).Next(ctx)
	if err != nil {
		return false, err
	}
	events, err := keyEvents(b.Events)
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent = append(f.recent, events...)
	if n := len(f.recent) - maxRecent; n > 0 {
		f.first = f.recent[n-1].seq
		f.recent = append([]keyEvent(nil), f.recent[n:]...) // lets go of the others
	}
	f.last, f.at = (*feed).Seq(), (*feed).Position()
	return b.More, nil
}

func (f *keyFeed) wakeReaders() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.readers {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// keyReader is the place of one stream in a tenant's feed. All but the channels is of
// one goroutine.
type keyReader struct {
	feed  *keyFeed
	woken <-chan struct{}
	wake  chan<- struct{}

	seq int64       // of the last event that was read
	at  string      // its position
	own *audit.Feed // for what is in memory no more; nil: none
}

// begin sets the place after an event; empty: now. Errors: those of audit.Store.Feed.
func (r *keyReader) begin(ctx context.Context, after string) error {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	return r.open(ctx, after)
}

func (r *keyReader) open(ctx context.Context, after string) (err error) {
	if r.own, err = r.feed.feeds.cfg.Audit.Feed(ctx, r.feed.tenantID, after); err == nil {
		r.seq, r.at = r.own.Seq(), r.own.Position()
	}
	return err
}

func (r *keyReader) position() string { return r.at }

// next implements eventSource. The last events of a tenant are read from the database,
// because the feed may not have read them yet.
func (r *keyReader) next(ctx context.Context, last bool) (eventPage, error) {
	if !last {
		if page, inMemory := r.recent(); inMemory {
			r.own = nil
			return page, nil
		}
	}
	if r.own == nil {
		if err := r.open(ctx, r.at); err != nil {
			return eventPage{}, err
		}
	}
	b, err := r.own.Next(ctx)
	if err != nil {
		return eventPage{}, err
	}
	events, err := keyEvents(b.Events)
	if err != nil {
		return eventPage{}, err
	}
	r.seq, r.at = r.own.Seq(), r.own.Position()
	return eventPage{texts: texts(events), more: b.More}, nil
}

// recent returns the events that are in memory; false if some that follow are not.
func (r *keyReader) recent() (eventPage, bool) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.begun || r.seq < f.first:
		return eventPage{}, false
	case r.seq >= f.last:
		return eventPage{}, true
	}
	i := len(f.recent)
	for i > 0 && f.recent[i-1].seq > r.seq {
		i--
	}
	page := eventPage{texts: texts(f.recent[i:])}
	r.seq, r.at = f.last, f.at
	return page, true
}

func texts(events []keyEvent) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.text
	}
	return out
}

// keyEvents formats the events that verifiers need.
func keyEvents(events []audit.FeedEvent) (out []keyEvent, err error) {
	for _, e := range events {
		if !strings.HasPrefix(string(e.Action), "key.") && !strings.HasPrefix(string(e.Action), "tenant.") || e.Action == audit.KeyExported {
			continue // an export concerns the operator alone
		}
		text, err := keyEventText(e)
		if err != nil {
			return nil, err
		}
		out = append(out, keyEvent{e.Seq, text})
	}
	return out, nil
}

// keyEventText formats an event as eventText does. It says what happened to which key,
// and neither who did it nor the free text that they gave.
func keyEventText(e audit.FeedEvent) (string, error) {
	out := KeyEvent{ID: e.Position, At: e.At, KID: nonZero(e.KID), State: nonZero(e.ToState)}
	if e.Action == audit.KeyRevoked {
		out.Reason = nonZero(RevocationReason(e.Reason))
	}
	if e.Action == audit.TenantDeleted {
		out.State = new(string(tenant.Deleted))
	}
	data, err := encodeJSON(out) // ends with a line feed
	return "id: " + e.Position + "\nevent: " + string(e.Action) + "\ndata: " + string(data) + "\n", err
}
