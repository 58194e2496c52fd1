package audit

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// ErrBroken means that the last event of a chain is not the one that its head
// names. No checkpoint of such a chain is signed; [Store.Verify] finds the seq.
var ErrBroken = errors.New("audit: the chain is broken")

// HeadEvent is the end of a chain with the tenant's slug and the last event's time.
type HeadEvent struct {
	Head
	Tenant string    // the slug
	At     time.Time // of the last event
}

// Head returns the end of a tenant's chain, also a deleted tenant's. It checks
// that the last event exists and has the head's hash. Errors: ErrNotFound,
// ErrBroken, ErrUnavailable.
func (s *Store) Head(ctx context.Context, tenantID uuid.UUID) (h HeadEvent, err error) {
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		row, err := tx.AuditHeadEvent(ctx, tenantID)
		if errors.Is(err, db.ErrNoRows) {
			return missingHeadError(ctx, tx, tenantID)
		}
		if err != nil {
			return err
		}
		e := chainRowEvent(db.AuditChainRow{
			TenantID: row.TenantID, Seq: row.Seq, At: row.At, Action: row.Action,
			ActorType: row.ActorType, ActorID: row.ActorID, ActorName: row.ActorName, KID: row.KID, FromState: row.FromState, ToState: row.ToState,
			Reason: row.Reason, RequestID: row.RequestID, Details: row.Details, PrevHash: row.PrevHash, Hash: row.Hash,
		})
		if !bytes.Equal(e.Hash, row.AuditHash) || !bytes.Equal(e.Hash, eventHash(e)) {
			return ErrBroken
		}
		h = HeadEvent{Head: Head{TenantID: e.TenantID, Seq: e.Seq, Hash: e.Hash, LastAt: e.At}, Tenant: row.Slug, At: e.At}
		return nil
	})
	return h, wrapError("head", err)
}

// missingHeadError returns db.ErrNoRows if the tenant does not exist, ErrBroken if
// only its last event does not.
func missingHeadError(ctx context.Context, tx *db.Tx, tenantID uuid.UUID) error {
	if _, err := currentHead(ctx, tx, tenantID); err != nil {
		return err
	}
	return ErrBroken
}
