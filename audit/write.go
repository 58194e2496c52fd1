package audit

import (
	"time"

	"github.com/google/uuid"
)

// Write collects the additions of one transaction to the histories of tenants:
// events, the new heads of their chains, and NOTIFY payloads. The zero value is
// empty. db.Writes.AppendAudit queues it:
//
//	w.AppendAudit(ctx, db.MoveAuditHeadsParams(a.Heads), db.InsertAuditEventsParams(a.Events), a.Payloads)
type Write struct {
	Heads    HeadColumns
	Events   Columns
	Payloads []string // see tenant.ChangePayloads
}

// NewWrite returns a Write that chains events to head, moves the head and
// notifies other processes with payloads.
func NewWrite(head Head, events []Event, payloads ...string) Write {
	w := Write{Payloads: payloads}
	w.MoveHead(head, w.Chain(head, events))
	return w
}

// Chain adds events behind head and returns the new head. The caller moves the
// head: with MoveHead, or in a statement of its own that writes the tenant's row.
func (w *Write) Chain(head Head, events []Event) Head {
	next, chained := Chain(head, events)
	w.Events.add(chained)
	return next
}

// MoveHead moves the head of a tenant's chain. The JWK Set in the tenant's row
// stays as it is.
func (w *Write) MoveHead(from, to Head) { w.moveHead(from, to, nil, "") }

// MoveHeadAndSet moves the head of a tenant's chain with a change that verifiers
// may see: set is the tenant's rendered JWK Set, outline its summary. With a nil
// set the stored one is out of date, and readers render their own.
func (w *Write) MoveHeadAndSet(from, to Head, set []byte, outline string) {
	w.Heads.Visible = true
	w.moveHead(from, to, set, outline)
}

func (w *Write) moveHead(from, to Head, set []byte, outline string) {
	h := &w.Heads
	h.TenantIds = append(h.TenantIds, to.TenantID)
	h.OldSeqs = append(h.OldSeqs, from.Seq)
	h.Seqs = append(h.Seqs, to.Seq)
	h.Hashes = append(h.Hashes, to.Hash)
	h.Ats = append(h.Ats, to.LastAt)
	h.JWKS = append(h.JWKS, set)
	h.Outlines = append(h.Outlines, outline)
}

// HeadColumns are the parameters of db.Writes.MoveAuditHeads, one element per
// tenant. Visible says whether verifiers may see a change of any tenant in it.
type HeadColumns struct {
	Visible   bool
	TenantIds []uuid.UUID
	OldSeqs   []int64
	Seqs      []int64
	Hashes    [][]byte
	Ats       []time.Time
	JWKS      [][]byte
	Outlines  []string
}

// Columns are the parameters of db.Writes.InsertAuditEvents, one element per
// event, so that any number of events is one statement. An empty text stands for
// NULL.
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

// ToColumns returns events made by [Chain] as columns. Events of several tenants
// may be mixed as long as each tenant's keep their order.
func ToColumns(events []Event) Columns {
	var c Columns
	c.add(events)
	return c
}

func (c *Columns) add(events []Event) {
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
}
