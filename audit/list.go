package audit

import (
	"context"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Filter selects events. An empty field selects all.
type Filter struct {
	TenantID  uuid.UUID // of ListAll only
	Action    string
	KID       string
	State     string // Event.ToState: the new state of the key or tenant
	Actor     string // an actor's id or name
	Since     time.Time
	Until     time.Time // exclusive
	Ascending bool      // oldest first; otherwise newest first
	Limit     int       // 1 to 500; 0: 50, more: 500
	Cursor    string    // a Page's Next, under the same filter
}

// Page is one page of a list.
type Page struct {
	Events []Event
	Next   string // empty on the last page
}

// Get returns one event of a tenant, also of a deleted one. Errors:
// ErrNotFound, ErrUnavailable.
func (s *Store) Get(ctx context.Context, tenantID uuid.UUID, seq int64) (e Event, err error) {
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		events, err := readPage(ctx, tx, Filter{TenantID: tenantID, Ascending: true, Limit: 1}.bounded(), position{Seq: seq - 1})
		if err != nil {
			return err
		}
		if len(events) == 0 || events[0].Seq != seq {
			return ErrNotFound
		}
		e = events[0]
		return nil
	})
	return e, wrapError("get", err)
}

// List returns a tenant's events in the order of their seq, also a deleted
// tenant's. Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) List(ctx context.Context, tenantID uuid.UUID, f Filter) (Page, error) {
	f.TenantID = tenantID
	f = f.bounded()
	after, err := f.position()
	if err != nil {
		return Page{}, err
	}
	events, err := s.read(ctx, f, after)
	return f.page(events), wrapError("list", err)
}

// ListAll returns every tenant's events in the order of their time, or one
// tenant's if Filter.TenantID is set, as List does. Callers must allow it only to
// the platform. Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) ListAll(ctx context.Context, f Filter) (Page, error) {
	if f.TenantID != uuid.Nil {
		return s.List(ctx, f.TenantID, f)
	}
	f = f.bounded()
	after, err := f.position()
	if err != nil {
		return Page{}, err
	}
	events, err := s.read(ctx, f, after)
	return f.page(events), wrapError("list", err)
}

// read reads a page and one more event, in a transaction of its own.
func (s *Store) read(ctx context.Context, f Filter, after position) (events []Event, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	if f.TenantID == uuid.Nil {
		err = s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			events, err = readAll(ctx, tx, f, after)
			return err
		})
		return events, err
	}
	err = s.db.InTenant(ctx, f.TenantID, func(tx *db.Tx) (err error) {
		events, err = readPage(ctx, tx, f, after)
		return err
	})
	return events, err
}

func readAll(ctx context.Context, tx *db.Tx, f Filter, p position) ([]Event, error) {
	if f.hasConditions() {
		if err := tx.PlanForFilters(ctx); err != nil {
			return nil, err
		}
	}
	if f.Ascending {
		rows, err := tx.ListAuditEventsOfAllAscending(ctx, db.ListAuditEventsOfAllAscendingParams{
			AfterAt: p.At, AfterTenantID: p.TenantID, AfterSeq: p.Seq, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
			Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
		})
		return mapRows(rows, func(r db.ListAuditEventsOfAllAscendingRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEventsOfAll(ctx, db.ListAuditEventsOfAllParams{
		BeforeAt: p.At, BeforeTenantID: p.TenantID, BeforeSeq: p.Seq, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
		Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
	})
	return mapRows(rows, func(r db.ListAuditEventsOfAllRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
}

// mapRows converts rows of a query to events.
func mapRows[R any](rows []R, event func(R) Event) []Event {
	events := make([]Event, len(rows))
	for i, r := range rows {
		events[i] = event(r)
	}
	return events
}

// bounded returns the filter with limits and times filled in, and texts as they
// are stored.
func (f Filter) bounded() Filter {
	f.Action, f.KID, f.State, f.Actor = StorableText(f.Action), StorableText(f.KID), StorableText(f.State), StorableText(f.Actor)
	if f.Limit <= 0 {
		f.Limit = 50
	}
	f.Limit = min(f.Limit, 500)
	f.Since = clampTime(f.Since, beginning)
	f.Until = clampTime(f.Until, end)
	return f
}

// page drops the extra event, which was read only to learn whether more follow.
func (f Filter) page(events []Event) Page {
	if len(events) <= f.Limit {
		return Page{Events: events}
	}
	events = events[:f.Limit]
	return Page{Events: events, Next: f.cursor(positionAfter(events[f.Limit-1]))}
}

// positionAfter returns the position at which a list continues after an event.
func positionAfter(e Event) position { return position{At: e.At, TenantID: e.TenantID, Seq: e.Seq} }

// start returns the position before the first event in the filter's order.
func (f Filter) start() position {
	if f.Ascending {
		return position{At: beginning}
	}
	return position{At: end, TenantID: uuid.Max, Seq: math.MaxInt64}
}

// clampTime returns absent for a zero time, and limits other times to the range of
// PostgreSQL and of cursors.
func clampTime(t, absent time.Time) time.Time {
	switch {
	case t.IsZero():
		return absent
	case t.Before(beginning):
		return beginning
	case t.After(end):
		return end
	}
	return t.UTC()
}
