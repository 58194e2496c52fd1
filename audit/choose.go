package audit

import (
	"context"
	"math"
	"slices"

	"github.com/keyward/keyward/db"
)

// schedule is the actor name of most events, which the index by actor leaves out.
const schedule = "worker"

// actionsInto maps a state to the one or two actions that bring a key, or the
// tenant, into it.
var actionsInto = map[string][2]Action{
	"standby":    {KeyCreated, KeyImported},
	"active":     {KeyActivated, TenantResumed},
	"deprecated": {KeyDeprecated, KeyImported},
	"expired":    {KeyExpired},
	"revoked":    {KeyRevoked},
	"purged":     {KeyPurged},
	"suspended":  {TenantSuspended},
}

// LeadsTo reports whether a brings a key, or the tenant, into a state. A list
// filtered by Filter.State finds only events with such an action.
func (a Action) LeadsTo(state string) bool {
	actions := actionsInto[state]
	return a != "" && (a == actions[0] || a == actions[1])
}

// unindexed is the last event of a history before those that the indexes for filters
// have. What precedes is read whole. The migration and the statements say the same number.
const unindexed = 256

// stretch is the part of a history between two seqs, both exclusive.
type stretch struct{ after, before int64 }

// stretches returns what lies behind a position, in the order of the list, in parts that
// each lie on one side of unindexed, so that PostgreSQL finds an index for each.
func (f Filter) stretches(p position) []stretch {
	if f.Ascending {
		parts := []stretch{{max(p.Seq, unindexed), math.MaxInt64}}
		if p.Seq < unindexed {
			return slices.Insert(parts, 0, stretch{p.Seq, unindexed + 1})
		}
		return parts
	}
	parts := []stretch{{0, min(p.Seq, unindexed+1)}}
	if p.Seq > unindexed+1 {
		return slices.Insert(parts, 0, stretch{unindexed, p.Seq})
	}
	return parts
}

// readPage reads a page of one tenant in the order of the list. It picks the query
// with an index for the filter's most selective condition.
func readPage(ctx context.Context, tx *db.Tx, f Filter, p position) ([]Event, error) {
	if !f.hasConditions() {
		return readUnfiltered(ctx, tx, f, p)
	}
	if err := tx.PlanForFilters(ctx); err != nil {
		return nil, err
	}
	var events []Event
	for _, part := range f.stretches(p) {
		more, err := readStretch(ctx, tx, f, part, int32(f.Limit+1-len(events)))
		if err != nil {
			return nil, err
		}
		if events = append(events, more...); len(events) > f.Limit {
			break
		}
	}
	return events, nil
}

func readStretch(ctx context.Context, tx *db.Tx, f Filter, part stretch, size int32) ([]Event, error) {
	switch {
	case part.before <= unindexed+1:
		return readEarly(ctx, tx, f, part, size)
	case f.hasTimes():
		between, err := tx.AuditSeqsBetween(ctx, f.TenantID, f.Since, f.Until)
		if err != nil || between.FirstSeq == 0 {
			return nil, err
		}
		part.after, part.before = max(part.after, between.FirstSeq-1), min(part.before, between.LastSeq+1)
	}
	actions, known := actionsInto[f.State]
	switch {
	case f.KID == "" && f.Actor != "" && f.Actor != schedule:
		return readActor(ctx, tx, f, part, size)
	case f.KID+f.Action == "" && known:
		return readState(ctx, tx, f, part, size, actions)
	}
	wanted := db.ListAuditEventsParams{
		TenantID: f.TenantID, AfterSeq: part.after, BeforeSeq: part.before, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
		Since: f.Since, Until: f.Until, PageSize: size,
	}
	if f.Ascending {
		rows, err := tx.ListAuditEventsAscending(ctx, db.ListAuditEventsAscendingParams(wanted))
		return mapRows(rows, func(r db.ListAuditEventsAscendingRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEvents(ctx, wanted)
	return mapRows(rows, listRowEvent), err
}

// readEarly reads a stretch that no index for filters has.
func readEarly(ctx context.Context, tx *db.Tx, f Filter, part stretch, size int32) ([]Event, error) {
	rows, err := tx.ListEarlyAuditEvents(ctx, db.ListEarlyAuditEventsParams{
		TenantID: f.TenantID, AfterSeq: part.after, BeforeSeq: part.before, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
		Since: f.Since, Until: f.Until, Ascending: f.Ascending, PageSize: size,
	})
	return mapRows(rows, func(r db.ListEarlyAuditEventsRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
}

func readActor(ctx context.Context, tx *db.Tx, f Filter, part stretch, size int32) ([]Event, error) {
	wanted := db.ListAuditEventsOfActorParams{
		TenantID: f.TenantID, AfterSeq: part.after, BeforeSeq: part.before, Actor: f.Actor, Action: f.Action, State: f.State,
		Since: f.Since, Until: f.Until, PageSize: size,
	}
	if f.Ascending {
		rows, err := tx.ListAuditEventsOfActorAscending(ctx, db.ListAuditEventsOfActorAscendingParams(wanted))
		return mapRows(rows, func(r db.ListAuditEventsOfActorAscendingRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEventsOfActor(ctx, wanted)
	return mapRows(rows, func(r db.ListAuditEventsOfActorRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
}

func readState(ctx context.Context, tx *db.Tx, f Filter, part stretch, size int32, actions [2]Action) ([]Event, error) {
	wanted := db.ListAuditEventsByStateParams{
		TenantID: f.TenantID, AfterSeq: part.after, BeforeSeq: part.before, State: f.State, FirstAction: string(actions[0]), OtherAction: string(actions[1]),
		Actor: f.Actor, Since: f.Since, Until: f.Until, PageSize: size,
	}
	if f.Ascending {
		rows, err := tx.ListAuditEventsByStateAscending(ctx, db.ListAuditEventsByStateAscendingParams(wanted))
		return mapRows(rows, func(r db.ListAuditEventsByStateAscendingRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEventsByState(ctx, wanted)
	return mapRows(rows, func(r db.ListAuditEventsByStateRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
}

// readUnfiltered reads a page of all events, as feeds and deliveries do. One query
// plan fits every such page.
func readUnfiltered(ctx context.Context, tx *db.Tx, f Filter, p position) ([]Event, error) {
	if f.Ascending {
		rows, err := tx.PageAuditEventsAscending(ctx, f.TenantID, p.Seq, int32(f.Limit)+1)
		return mapRows(rows, func(r db.PageAuditEventsAscendingRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.PageAuditEvents(ctx, f.TenantID, p.Seq, int32(f.Limit)+1)
	return mapRows(rows, func(r db.PageAuditEventsRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
}

// hasConditions reports whether the filter leaves out any event.
func (f Filter) hasConditions() bool {
	return f.Action+f.KID+f.State+f.Actor != "" || f.hasTimes()
}

// hasTimes reports whether the filter leaves out events by their time.
func (f Filter) hasTimes() bool { return !f.Since.Equal(beginning) || !f.Until.Equal(end) }
