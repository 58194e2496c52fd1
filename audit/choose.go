package audit

import (
	"context"

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

// readPage reads a page of one tenant in the order of the list. It picks the query
// with an index for the filter's most selective condition.
func readPage(ctx context.Context, tx *db.Tx, f Filter, p position) ([]Event, error) {
	if !f.hasConditions() {
		return readUnfiltered(ctx, tx, f, p)
	}
	if err := tx.PlanForFilters(ctx); err != nil {
		return nil, err
	}
	actions, known := actionsInto[f.State]
	switch {
	case f.KID == "" && f.Actor != "" && f.Actor != schedule:
		return readActor(ctx, tx, f, p)
	case f.KID+f.Action == "" && known:
		return readState(ctx, tx, f, p, actions)
	case f.Ascending:
		rows, err := tx.ListAuditEventsAscending(ctx, db.ListAuditEventsAscendingParams{
			TenantID: f.TenantID, AfterSeq: p.Seq, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
			Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
		})
		return mapRows(rows, func(r db.ListAuditEventsAscendingRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEvents(ctx, db.ListAuditEventsParams{
		TenantID: f.TenantID, BeforeSeq: p.Seq, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
		Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
	})
	return mapRows(rows, listRowEvent), err
}

func readActor(ctx context.Context, tx *db.Tx, f Filter, p position) ([]Event, error) {
	if f.Ascending {
		rows, err := tx.ListAuditEventsOfActorAscending(ctx, db.ListAuditEventsOfActorAscendingParams{
			TenantID: f.TenantID, AfterSeq: p.Seq, Actor: f.Actor, Action: f.Action, State: f.State,
			Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
		})
		return mapRows(rows, func(r db.ListAuditEventsOfActorAscendingRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEventsOfActor(ctx, db.ListAuditEventsOfActorParams{
		TenantID: f.TenantID, BeforeSeq: p.Seq, Actor: f.Actor, Action: f.Action, State: f.State,
		Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
	})
	return mapRows(rows, func(r db.ListAuditEventsOfActorRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
}

func readState(ctx context.Context, tx *db.Tx, f Filter, p position, actions [2]Action) ([]Event, error) {
	first, other := string(actions[0]), string(actions[1])
	if f.Ascending {
		rows, err := tx.ListAuditEventsByStateAscending(ctx, db.ListAuditEventsByStateAscendingParams{
			TenantID: f.TenantID, AfterSeq: p.Seq, State: f.State, FirstAction: first, OtherAction: other, Actor: f.Actor,
			Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
		})
		return mapRows(rows, func(r db.ListAuditEventsByStateAscendingRow) Event { return listRowEvent(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEventsByState(ctx, db.ListAuditEventsByStateParams{
		TenantID: f.TenantID, BeforeSeq: p.Seq, State: f.State, FirstAction: first, OtherAction: other, Actor: f.Actor,
		Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
	})
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
	return f.Action+f.KID+f.State+f.Actor != "" || !f.Since.Equal(beginning) || !f.Until.Equal(end)
}
