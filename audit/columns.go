package audit

import (
	"time"

	"github.com/google/uuid"
)

// Columns are events turned on their side: what db.InsertAuditEvents takes,
// so that any number of them is one statement. An empty text stands for NULL.
type Columns struct {
	TenantIds  []uuid.UUID
	Seqs       []int64
	Ats        []time.Time
	Actions    []string
	ActorTypes []string
	ActorIds   []string
	ActorNames []string
	Kids       []string
	FromStates []string
	ToStates   []string
	Reasons    []string
	RequestIds []string
	Details    []string
	PrevHashes [][]byte
	Hashes     [][]byte
}

// ToColumns turns events made by [Chain] on their side. Those of several
// tenants may be mixed as long as each tenant's keep their order.
func ToColumns(events []Event) Columns {
	var c Columns
	for _, e := range events {
		c.TenantIds = append(c.TenantIds, e.TenantID)
		c.Seqs = append(c.Seqs, e.Seq)
		c.Ats = append(c.Ats, e.At)
		c.Actions = append(c.Actions, string(e.Action))
		c.ActorTypes = append(c.ActorTypes, string(e.Actor.Type))
		c.ActorIds = append(c.ActorIds, e.Actor.ID)
		c.ActorNames = append(c.ActorNames, e.Actor.Name)
		c.Kids = append(c.Kids, e.KID)
		c.FromStates = append(c.FromStates, e.FromState)
		c.ToStates = append(c.ToStates, e.ToState)
		c.Reasons = append(c.Reasons, e.Reason)
		c.RequestIds = append(c.RequestIds, e.RequestID)
		c.Details = append(c.Details, string(e.Details))
		c.PrevHashes = append(c.PrevHashes, e.PrevHash)
		c.Hashes = append(c.Hashes, e.Hash)
	}
	return c
}
