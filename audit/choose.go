package audit

import (
	"context"

	"github.com/keyward/keyward/db"
)

// schedule is the name of the actor of most events, by which no index has them.
const schedule = "worker"

// leading are the actions that bring a key, or the tenant, into a state, one or
// two.
var leading = map[string][2]Action{
	"standby":    {KeyCreated, KeyImported},
	"active":     {KeyActivated, TenantResumed},
	"deprecated": {KeyDeprecated, KeyImported},
	"expired":    {KeyExpired},
	"revoked":    {KeyRevoked},
	"purged":     {KeyPurged},
	"suspended":  {TenantSuspended},
}

// LeadsTo says whether a is an action that brings a key, or the tenant, into a
// state. Events of any other action with that state would be missing from what
// Filter.State chooses.
func (a Action) LeadsTo(state string) bool {
	actions := leading[state]
	return a != "" && (a == actions[0] || a == actions[1])
}

// read reads a page of one tenant by the statement that has an index for the
// narrowest of what is filtered for, in the order of the list.
func read(ctx context.Context, tx *db.Tx, f Filter, p position) ([]Event, error) {
	if !f.chooses() {
		return readAny(ctx, tx, f, p)
	}
	if err := tx.PlanForFilters(ctx); err != nil {
		return nil, err
	}
	actions, known := leading[f.State]
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
		return each(rows, func(r db.ListAuditEventsAscendingRow) Event { return listed(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEvents(ctx, db.ListAuditEventsParams{
		TenantID: f.TenantID, BeforeSeq: p.Seq, Action: f.Action, KID: f.KID, State: f.State, Actor: f.Actor,
		Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
	})
	return each(rows, listed), err
}

func readActor(ctx context.Context, tx *db.Tx, f Filter, p position) ([]Event, error) {
	if f.Ascending {
		rows, err := tx.ListAuditEventsOfActorAscending(ctx, db.ListAuditEventsOfActorAscendingParams{
			TenantID: f.TenantID, AfterSeq: p.Seq, Actor: f.Actor, Action: f.Action, State: f.State,
			Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
		})
		return each(rows, func(r db.ListAuditEventsOfActorAscendingRow) Event { return listed(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEventsOfActor(ctx, db.ListAuditEventsOfActorParams{
		TenantID: f.TenantID, BeforeSeq: p.Seq, Actor: f.Actor, Action: f.Action, State: f.State,
		Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
	})
	return each(rows, func(r db.ListAuditEventsOfActorRow) Event { return listed(db.ListAuditEventsRow(r)) }), err
}

func readState(ctx context.Context, tx *db.Tx, f Filter, p position, actions [2]Action) ([]Event, error) {
	first, other := string(actions[0]), string(actions[1])
	if f.Ascending {
		rows, err := tx.ListAuditEventsByStateAscending(ctx, db.ListAuditEventsByStateAscendingParams{
			TenantID: f.TenantID, AfterSeq: p.Seq, State: f.State, FirstAction: first, OtherAction: other, Actor: f.Actor,
			Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
		})
		return each(rows, func(r db.ListAuditEventsByStateAscendingRow) Event { return listed(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.ListAuditEventsByState(ctx, db.ListAuditEventsByStateParams{
		TenantID: f.TenantID, BeforeSeq: p.Seq, State: f.State, FirstAction: first, OtherAction: other, Actor: f.Actor,
		Since: f.Since, Until: f.Until, PageSize: int32(f.Limit) + 1,
	})
	return each(rows, func(r db.ListAuditEventsByStateRow) Event { return listed(db.ListAuditEventsRow(r)) }), err
}

// readAny reads a page of which nothing is filtered away, as feeds and
// deliveries do: one plan serves them all.
func readAny(ctx context.Context, tx *db.Tx, f Filter, p position) ([]Event, error) {
	if f.Ascending {
		rows, err := tx.PageAuditEventsAscending(ctx, f.TenantID, p.Seq, int32(f.Limit)+1)
		return each(rows, func(r db.PageAuditEventsAscendingRow) Event { return listed(db.ListAuditEventsRow(r)) }), err
	}
	rows, err := tx.PageAuditEvents(ctx, f.TenantID, p.Seq, int32(f.Limit)+1)
	return each(rows, func(r db.PageAuditEventsRow) Event { return listed(db.ListAuditEventsRow(r)) }), err
}

// chooses says whether anything is filtered for.
func (f Filter) chooses() bool {
	return f.Action+f.KID+f.State+f.Actor != "" || !f.Since.Equal(beginning) || !f.Until.Equal(end)
}
