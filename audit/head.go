package audit

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// ErrBroken means that a chain does not end as its head says. Nothing that
// vouches for it is signed; [Store.Verify] tells where it is broken.
var ErrBroken = errors.New("audit: the chain is broken")

// HeadEvent is the end of a chain and what is known of it.
type HeadEvent struct {
	Head
	Tenant string    // the slug
	At     time.Time // of the last event
}

// Head returns the end of a tenant's chain, also a deleted tenant's, after
// having checked that the last event is there and hashes to it. Errors:
// ErrNotFound, ErrBroken, ErrUnavailable.
func (s *Store) Head(ctx context.Context, tenantID uuid.UUID) (h HeadEvent, err error) {
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		row, err := tx.AuditHeadEvent(ctx, tenantID)
		if errors.Is(err, db.ErrNoRows) {
			return headless(ctx, tx, tenantID)
		}
		if err != nil {
			return err
		}
		e := stored(db.AuditChainRow{
			TenantID: row.TenantID, Seq: row.Seq, At: row.At, Action: row.Action,
			ActorType: row.ActorType, ActorID: row.ActorID, ActorName: row.ActorName, KID: row.KID, FromState: row.FromState, ToState: row.ToState,
			Reason: row.Reason, RequestID: row.RequestID, Details: row.Details, PrevHash: row.PrevHash, Hash: row.Hash,
		})
		if !bytes.Equal(e.Hash, row.AuditHash) || !bytes.Equal(e.Hash, digest(e)) {
			return ErrBroken
		}
		h = HeadEvent{Head: Head{TenantID: e.TenantID, Seq: e.Seq, Hash: e.Hash}, Tenant: row.Slug, At: e.At}
		return nil
	})
	return h, failed("head", err)
}

// headless tells a tenant that is not there from one whose last event is not.
func headless(ctx context.Context, tx *db.Tx, tenantID uuid.UUID) error {
	if _, err := currentHead(ctx, tx, tenantID); err != nil {
		return err
	}
	return ErrBroken
}
