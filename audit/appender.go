package audit

import (
	"context"

	"github.com/keyward/keyward/db"
)

// Appender collects what one transaction appends to the histories of any
// number of tenants, and writes it in two statements.
type Appender struct {
	heads  db.MoveAuditHeadsParams
	events []Event
}

// Writes are the statements that an [Appender] queues; *db.Writes has them.
type Writes interface {
	MoveAuditHeads(context.Context, db.MoveAuditHeadsParams) (int64, error)
	InsertAuditEvents(context.Context, db.InsertAuditEventsParams) error
	Expect(rows int)
}

// PublicSet is a tenant's JWK Set as the events leave it. With a nil Body the
// set from before is kept in the row and counts no more.
type PublicSet struct {
	Body    []byte
	Outline string
}

// Append links events to the chain that ends with head and moves the head. It
// returns the new head. set is nil if the events change nothing that verifiers
// see; one transaction either changes that for all of its tenants or for none.
func (a *Appender) Append(head Head, events []Event, set *PublicSet) Head {
	next := a.AppendEvents(head, events)
	a.heads.TenantIds = append(a.heads.TenantIds, head.TenantID)
	a.heads.OldSeqs = append(a.heads.OldSeqs, head.Seq)
	a.heads.Seqs = append(a.heads.Seqs, next.Seq)
	a.heads.Hashes = append(a.heads.Hashes, next.Hash)
	if set == nil {
		set = &PublicSet{}
	} else {
		a.heads.Visible = true
	}
	a.heads.JWKS, a.heads.Outlines = append(a.heads.JWKS, set.Body), append(a.heads.Outlines, set.Outline)
	return next
}

// AppendEvents is Append where another statement of the transaction moves the
// head.
func (a *Appender) AppendEvents(head Head, events []Event) Head {
	next, chained := Chain(head, events)
	a.events = append(a.events, chained...)
	return next
}

// Queue queues the statements. A head that somebody else has moved meanwhile
// fails the whole transaction.
func (a *Appender) Queue(ctx context.Context, w Writes) error {
	if len(a.heads.TenantIds) > 0 {
		if _, err := w.MoveAuditHeads(ctx, a.heads); err != nil {
			return err
		}
		w.Expect(len(a.heads.TenantIds))
	}
	if len(a.events) == 0 {
		return nil
	}
	if err := w.InsertAuditEvents(ctx, db.InsertAuditEventsParams(ToColumns(a.events))); err != nil {
		return err
	}
	w.Expect(len(a.events))
	return nil
}
