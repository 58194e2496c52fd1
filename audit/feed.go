package audit

import (
	"context"
	"math"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// feedPage is how many events a feed holds in memory at once.
const feedPage = 100

// Feed reads events as they become final, each once, and each tenant's in the
// order of their seq. It is for one goroutine; between two calls of Next it
// holds nothing of the database.
//
// A tenant's events become visible in the order of their seq, because every
// change holds the tenant's lock until its end: a tenant's feed never waits.
// Those of several tenants do not. The feed of all reads them by the
// transaction that wrote them, and only below the oldest one that still runs
// in the whole PostgreSQL server: what commits late is told late, not skipped.
type Feed struct {
	store *Store
	scope uuid.UUID // uuid.Nil: every tenant
	at    place
}

// Told is an event of a feed.
type Told struct {
	Event
	Position string // of the feed behind this event
	at       place
}

func (f *Feed) told(e Event, at place) Told { return Told{e, at.position(f.scope), at} }

// Batch is what Next has read.
type Batch struct {
	Events []Told
	More   bool // there are others already
	// Held says that events have been committed that must wait for a
	// transaction that began before. Nobody will tell when it ends.
	Held bool
}

// Feed returns the feed of a tenant, also a deleted one, or of all for
// uuid.Nil: callers see to it that only the platform asks for that. It goes on
// behind after, a position of the same feed, or begins with now if that is
// empty. Errors: ErrBadPosition, ErrNotFound, ErrUnavailable.
func (s *Store) Feed(ctx context.Context, tenantID uuid.UUID, after string) (*Feed, error) {
	now, last, err := s.present(ctx, tenantID)
	if err != nil {
		return nil, failed("feed", err)
	}
	f := &Feed{store: s, scope: tenantID, at: now}
	if after == "" {
		return f, nil
	}
	if f.at, err = parsePlace(tenantID, after); err != nil || f.at.beyond(last) {
		return nil, ErrBadPosition
	}
	return f, nil
}

// present is where a feed begins now, and behind which no position can be,
// unless the database is older than it once was.
func (s *Store) present(ctx context.Context, tenantID uuid.UUID) (now, last place, err error) {
	if tenantID != uuid.Nil {
		err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
			head, err := currentHead(ctx, tx, tenantID)
			now = place{tenantID: tenantID, seq: head.Seq}
			return err
		})
		return now, now, err
	}
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		bounds, err := tx.FeedBounds(ctx)
		now, last = place{xid: bounds.Settled}, place{xid: bounds.Unused, tenantID: uuid.Max, seq: math.MaxInt64}
		return err
	})
	return now, last, err
}

// Position names where the feed is. It can be given to a later feed of the same
// tenant, or of all, in any process.
func (f *Feed) Position() string { return f.at.position(f.scope) }

// Next returns the events that follow, none if there are none yet. After an
// error the feed is where it was. Errors: ErrUnavailable.
func (f *Feed) Next(ctx context.Context) (b Batch, err error) {
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
		return Batch{}, failed("feed", err)
	}
	if n := len(b.Events); n > 0 {
		f.at = b.Events[n-1].at
	}
	return b, nil
}

func (f *Feed) nextOfOne(ctx context.Context, tx *db.Tx) (b Batch, err error) {
	filter := Filter{TenantID: f.scope, Ascending: true, Limit: feedPage}.bounded()
	events, err := read(ctx, tx, filter, position{Seq: f.at.seq})
	b.More = len(events) > feedPage
	for _, e := range events[:min(len(events), feedPage)] {
		b.Events = append(b.Events, f.told(e, place{tenantID: e.TenantID, seq: e.Seq}))
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
		b.Events = append(b.Events, f.told(fed(r), place{r.FeedXID, r.TenantID, r.Seq}))
	}
	return b, err
}

func fed(r db.FeedOfAllRow) Event {
	return listed(db.ListAuditEventsRow{
		TenantID: r.TenantID, Slug: r.Slug, Seq: r.Seq, At: r.At, Action: r.Action,
		ActorType: r.ActorType, ActorID: r.ActorID, ActorName: r.ActorName, KID: r.KID, FromState: r.FromState, ToState: r.ToState,
		Reason: r.Reason, RequestID: r.RequestID, Details: r.Details, PrevHash: r.PrevHash, Hash: r.Hash,
	})
}
