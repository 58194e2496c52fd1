package audit

import (
	"context"
	"math"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// feedPage is the number of events that a feed holds in memory at once.
const feedPage = 100

// Feed reads committed events, each once, and each tenant's in the order of their
// seq. It is for one goroutine, and holds no database connection between two calls
// of Next.
//
// A tenant's events become visible in the order of their seq, because every change
// holds the tenant's lock until it ends: a tenant's feed never waits. Events of
// several tenants may become visible in any order. The feed of all tenants reads
// them by transaction id, and only below the oldest transaction that still runs in
// the PostgreSQL server: an event that commits late is returned late, not skipped.
type Feed struct {
	store *Store
	scope uuid.UUID // uuid.Nil: every tenant
	epoch int64     // of the database, see queries/recoveries.sql
	at    place
}

// FeedEvent is an event of a feed.
type FeedEvent struct {
	Event
	Position string // of the feed after this event
	at       place
}

func (f *Feed) event(e Event, at place) FeedEvent {
	return FeedEvent{e, at.position(f.scope, f.epoch), at}
}

// Batch is the result of Next.
type Batch struct {
	Events []FeedEvent
	More   bool // more events are ready
	// Held says that committed events wait for an older transaction to end, for
	// which there is no notification: the caller must poll.
	Held bool
}

// Feed returns the feed of a tenant, also a deleted one, or of all tenants for
// uuid.Nil, which callers must allow only to the platform. It resumes after a
// position of the same feed, or starts with the next event if after is empty.
// Errors: ErrBadPosition, ErrNotFound, ErrUnavailable.
func (s *Store) Feed(ctx context.Context, tenantID uuid.UUID, after string) (*Feed, error) {
	now, last, epoch, err := s.present(ctx, tenantID)
	if err != nil {
		return nil, wrapError("feed", err)
	}
	f := &Feed{store: s, scope: tenantID, epoch: epoch, at: now}
	if after == "" {
		return f, nil
	}
	if f.at, err = parsePlace(tenantID, epoch, after); err != nil || f.at.beyond(last) {
		return nil, ErrBadPosition
	}
	return f, nil
}

// present returns the place at which a new feed starts, the last possible place, and
// the epoch: a position beyond the last place, or of another epoch, comes from before
// the database was restored.
func (s *Store) present(ctx context.Context, tenantID uuid.UUID) (now, last place, epoch int64, err error) {
	if tenantID != uuid.Nil {
		err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
			head, err := currentHead(ctx, tx, tenantID)
			if err != nil {
				return err
			}
			now = place{tenantID: tenantID, seq: head.Seq}
			epoch, err = tx.CurrentEpoch(ctx)
			return err
		})
		return now, now, epoch, err
	}
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		bounds, err := tx.FeedBounds(ctx)
		if err != nil {
			return err
		}
		now, last = place{xid: bounds.Settled}, place{xid: bounds.Unused, tenantID: uuid.Max, seq: math.MaxInt64}
		epoch, err = tx.CurrentEpoch(ctx)
		return err
	})
	return now, last, epoch, err
}

// Position returns the feed's place. A later feed of the same scope can resume
// after it, in any process.
func (f *Feed) Position() string { return f.at.position(f.scope, f.epoch) }

// Seq returns the seq of the last event before the feed's place, in a tenant's feed.
func (f *Feed) Seq() int64 { return f.at.seq }

// Next returns the events that follow, possibly none, and advances the feed. After
// an error the feed is at the same place as before. Errors: ErrUnavailable.
func (f *Feed) Next(ctx context.Context) (b Batch, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	if f.scope == uuid.Nil {
		err = f.store.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			b, err = f.nextOfAll(ctx, tx)
			return err
		})
	} else {
		err = f.store.db.InTenant(ctx, f.scope, func(tx *db.Tx) (err error) {
			b, err = f.nextOfOne(ctx, tx)
			return err
		})
	}
	if err != nil {
		return Batch{}, wrapError("feed", err)
	}
	if n := len(b.Events); n > 0 {
		f.at = b.Events[n-1].at
	}
	return b, nil
}

func (f *Feed) nextOfOne(ctx context.Context, tx *db.Tx) (b Batch, err error) {
	filter := Filter{TenantID: f.scope, Ascending: true, Limit: feedPage}.bounded()
	events, err := readPage(ctx, tx, filter, position{Seq: f.at.seq})
	b.More = len(events) > feedPage
	for _, e := range events[:min(len(events), feedPage)] {
		b.Events = append(b.Events, f.event(e, place{tenantID: e.TenantID, seq: e.Seq}))
	}
	return b, err
}

func (f *Feed) nextOfAll(ctx context.Context, tx *db.Tx) (b Batch, err error) {
	rows, err := tx.FeedOfAll(ctx, db.FeedOfAllParams{
		AfterXID: f.at.xid, AfterTenantID: f.at.tenantID, AfterSeq: f.at.seq, PageSize: feedPage + 1,
	})
	for _, r := range rows {
		if !r.Settled {
			b.Held = true
			return b, err
		}
		if len(b.Events) == feedPage {
			b.More = true
			return b, err
		}
		b.Events = append(b.Events, f.event(feedRowEvent(r), place{r.FeedXID, r.TenantID, r.Seq}))
	}
	return b, err
}

func feedRowEvent(r db.FeedOfAllRow) Event {
	return listRowEvent(db.ListAuditEventsRow{
		TenantID: r.TenantID, Slug: r.Slug, Seq: r.Seq, At: r.At, Action: r.Action,
		ActorType: r.ActorType, ActorID: r.ActorID, ActorName: r.ActorName, KID: r.KID, FromState: r.FromState, ToState: r.ToState,
		Reason: r.Reason, RequestID: r.RequestID, Details: r.Details, PrevHash: r.PrevHash, Hash: r.Hash,
	})
}
