package audit

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Report is the result of Verify.
type Report struct {
	Intact   bool
	Events   int64  // in the intact part of the chain
	Head     Head   // from the tenant's row
	BrokenAt *int64 // the first seq that does not verify; nil if Intact
}

// eventsInMemory is the number of events that Verify and Export hold at once.
const eventsInMemory = 1000

// Verify recomputes a tenant's chain, also a deleted tenant's. Events appended
// while it reads are left for the next time. Errors: ErrNotFound,
// ErrUnavailable; a broken chain is a Report, not an error.
func (s *Store) Verify(ctx context.Context, tenantID uuid.UUID) (Report, error) {
	var r Report
	ctx, goOn, stop := whileMoving(ctx)
	defer stop(nil)
	err := s.db.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		goOn()
		r, err = verifyChain(ctx, tx, tenantID, goOn)
		return err
	})
	if err != nil && context.Cause(ctx) == errStalled {
		err = errStalled
	}
	if err != nil {
		return Report{}, wrapError("verify", err)
	}
	return r, nil
}

// pageTimeout bounds how long a read of at most some thousand events is waited for.
const pageTimeout = 14 * time.Second

var errStalled = fmt.Errorf("the database does not go on: %w", db.ErrUnavailable)

// whileMoving returns a context that ends, with the cause errStalled, when goOn was not
// called for pageTimeout.
func whileMoving(ctx context.Context) (moving context.Context, goOn func(), stop context.CancelCauseFunc) {
	moving, stop = context.WithCancelCause(ctx)
	timer := time.AfterFunc(pageTimeout, func() { stop(errStalled) })
	context.AfterFunc(moving, func() { timer.Stop() })
	return moving, func() { timer.Reset(pageTimeout) }, stop
}

func verifyChain(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, goOn func()) (Report, error) {
	head, err := currentHead(ctx, tx, tenantID)
	if err != nil {
		return Report{}, err
	}
	last, err := walkChain(ctx, tx, head, goOn)
	if err != nil {
		return Report{}, err
	}
	beyond, err := beyondHead(ctx, tx, head)
	broken := last.Seq + 1
	switch {
	case last.Seq < head.Seq: // changed, removed, reordered or cut off after last
	case !bytes.Equal(last.Hash, head.Hash): // the last event, or the head itself
		broken = head.Seq
	case beyond:
	default:
		return Report{Intact: true, Events: last.Seq, Head: head}, err
	}
	return Report{Events: last.Seq, Head: head, BrokenAt: &broken}, err
}

// walkChain reads the chain up to the head's seq and returns the last event that
// verifies.
func walkChain(ctx context.Context, tx *db.Tx, head Head, goOn func()) (Head, error) {
	last := Genesis(head.TenantID)
	for last.Seq < head.Seq {
		rows, err := tx.AuditChain(ctx, head.TenantID, last.Seq, int32(min(eventsInMemory, head.Seq-last.Seq)))
		if err != nil {
			return last, err
		}
		goOn()
		for _, row := range rows {
			e := chainRowEvent(row)
			if !isNext(last, e) {
				return last, nil
			}
			last = Head{TenantID: last.TenantID, Seq: e.Seq, Hash: e.Hash}
		}
		if len(rows) == 0 {
			return last, nil
		}
	}
	return last, nil
}

// isNext reports whether e directly follows last and has the hash of its content.
func isNext(last Head, e Event) bool {
	return e.Seq == last.Seq+1 && bytes.Equal(e.PrevHash, last.Hash) && bytes.Equal(e.Hash, eventHash(e))
}

// beyondHead reports whether an event was inserted after the head. An event that
// was appended properly since the head was read comes with a newer head.
func beyondHead(ctx context.Context, tx *db.Tx, head Head) (bool, error) {
	beyond, err := tx.AuditChain(ctx, head.TenantID, head.Seq, 1)
	if err != nil || len(beyond) == 0 {
		return false, err
	}
	newer, err := currentHead(ctx, tx, head.TenantID)
	return newer.Seq < beyond[0].Seq, err
}

func currentHead(ctx context.Context, tx *db.Tx, tenantID uuid.UUID) (Head, error) {
	row, err := tx.GetTenant(ctx, tenantID)
	return Head{TenantID: row.ID, Seq: row.AuditSeq, Hash: row.AuditHash}, err
}
