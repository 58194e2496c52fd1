package audit

import (
	"time"

	"github.com/keyward/keyward/db"
)

// listRowEvent converts a row of a list.
func listRowEvent(r db.ListAuditEventsRow) Event {
	e := chainRowEvent(db.AuditChainRow{
		TenantID: r.TenantID, Seq: r.Seq, At: r.At, Action: r.Action, ActorType: r.ActorType, ActorID: r.ActorID, ActorName: r.ActorName,
		KID: r.KID, FromState: r.FromState, ToState: r.ToState, Reason: r.Reason, RequestID: r.RequestID,
		Details: r.Details, PrevHash: r.PrevHash, Hash: r.Hash,
	})
	e.Tenant = r.Slug
	return e
}

// chainRowEvent converts a row of a chain. The event has no slug.
func chainRowEvent(r db.AuditChainRow) Event {
	return Event{
		TenantID: r.TenantID, Seq: r.Seq, At: r.At.UTC(), Action: Action(r.Action),
		Actor: Actor{Type: ActorType(r.ActorType), ID: r.ActorID, Name: r.ActorName},
		KID:   db.ZeroIfNull(r.KID), FromState: db.ZeroIfNull(r.FromState), ToState: db.ZeroIfNull(r.ToState), Reason: db.ZeroIfNull(r.Reason), RequestID: db.ZeroIfNull(r.RequestID),
		Details: r.Details, PrevHash: r.PrevHash, Hash: r.Hash,
	}
}

// The first and last possible times, for filters that name none.
var (
	beginning = time.Unix(0, 0).UTC()
	end       = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)
