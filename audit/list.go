package audit

import (
	"context"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Filter chooses events; what is empty chooses all.
type Filter struct {
	TenantID  uuid.UUID // of ListAll only
	Action    string
	KID       string
	State     string // what the event brought its key into: Event.ToState
	Actor     string // an actor's id or name
	Since     time.Time
	Until     time.Time // exclusive
	Ascending bool      // oldest first; otherwise newest first
	Limit     int       // 1 to 500; 0: 50, more: 500
	Cursor    string    // a Page's Next, under the same filter
}

// Page is a stretch of a list.
type Page struct {
	Events []Event
	Next   string // empty on the last page
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
	return f.page(events), failed("list", err)
}

// ListAll returns every tenant's events in the order of their time, or those
// of Filter.TenantID as List does. Callers see to it that only the platform
// asks. Errors: ErrBadCursor, ErrUnavailable.
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
	return f.page(events), failed("list", err)
}

// read reads a page and one event more, in a transaction of its own.
func (s *Store) read(ctx context.Context, f Filter, after position) (events []Event, err error) {
	if f.TenantID == uuid.Nil {
		err = s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			events, err = readAll(ctx, tx, f, after)
			return err
		})
		return events, err
	}
	err = s.db.InTenant(ctx, f.TenantID, func(tx *db.Tx) (err error) {
		events, err = read(ctx, tx, f, after)
		return err
	})
	return events, err
}

func readAll(ctx context.Context, tx *db.Tx, f Filter, p position) ([]Event, error) {
	if f.chooses() {
		if err := tx.PlanForFilters(ctx); err != nil {
			return nil, err
		}
	}
	if f.Ascending {
		rows, err := tx.ListAuditEventsOfAllAscending(ctx, db.ListAuditEventsOfAllAscendingParams{
			AfterAt: p.At, AfterTenantID: p.TenantID, AfterSeq: p.Seq, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
			Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
		})
		return each(rows, func(r db.ListAuditEventsOfAllAscendingRow) Event { return listed(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEventsOfAll(ctx, db.ListAuditEventsOfAllParams{
		BeforeAt: p.At, BeforeTenantID: p.TenantID, BeforeSeq: p.Seq, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
		Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
	})
	return each(rows, func(r db.ListAuditEventsOfAllRow) Event { return listed(db.ListAuditEventsRow(r)) }), err
}

func each[R any](rows []R, event func(R) Event) []Event {
	events := make([]Event, len(rows))
	for i, r := range rows {
		events[i] = event(r)
	}
	return events
}

// bounded is the filter with its ends filled in, and texts as they are stored.
func (f Filter) bounded() Filter {
	f.Action, f.KID, f.State, f.Actor = StorableText(f.Action), StorableText(f.KID), StorableText(f.State), StorableText(f.Actor)
	if f.Limit <= 0 {
		f.Limit = 50
	}
	f.Limit = min(f.Limit, 500)
	f.Since = clamp(f.Since, beginning)
	f.Until = clamp(f.Until, end)
	return f
}

// page cuts off the event that was read only to know whether there is more.
func (f Filter) page(events []Event) Page {
	if len(events) <= f.Limit {
		return Page{Events: events}
	}
	events = events[:f.Limit]
	return Page{Events: events, Next: f.cursor(behind(events[f.Limit-1]))}
}

// behind is where a list goes on after an event.
func behind(e Event) position { return position{At: e.At, TenantID: e.TenantID, Seq: e.Seq} }

// start is before the first event in the filter's order.
func (f Filter) start() position {
	if f.Ascending {
		return position{At: beginning}
	}
	return position{At: end, TenantID: uuid.Max, Seq: math.MaxInt64}
}

// clamp replaces a time that is not given, and keeps others where PostgreSQL
// and a cursor can follow.
func clamp(t, absent time.Time) time.Time {
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
