package moves

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// Recovery says with which checkpoint the history of a restored tenant does not agree.
type Recovery struct {
	Seq     int64  // of the checkpoint
	Hash    string // of the checkpoint, in hexadecimal
	HeadSeq int64  // where the restored history ended
}

// Recover replaces every key of a tenant whose restored history lacks events: any of its
// keys may have been revoked in them. It revokes the published keys as compromised,
// activates new ones, and moves not_before, so that verifiers refuse every token that is
// older. The event tenant.recovered says why. Errors: those of RevokeAll.
func (s *Store) Recover(ctx context.Context, by audit.By, tenantID uuid.UUID, r Recovery) (MassRevocation, error) {
	var out MassRevocation
	err := s.withLockedTenant(ctx, by, tenantID, func(tx *db.Tx, l *ledger, m *keySupply) (err error) {
		if out, err = l.revokeAllKeys(keys.Compromised, "the database was restored to an earlier time", m); err != nil {
			return err
		}
		l.refuseOlderTokens()
		l.addEvent(audit.Event{Action: audit.TenantRecovered}, map[string]any{
			"checkpoint_seq": r.Seq, "checkpoint_hash": r.Hash, "restored_seq": r.HeadSeq, "revoked_keys": len(out.Revoked),
		})
		return l.writeWithTenantRow(ctx, tx)
	})
	return out, err
}

// refuseOlderTokens moves the tenant's not_before to the ledger's time, in whole seconds
// as iat has them.
func (l *ledger) refuseOlderTokens() {
	at := l.at.Truncate(time.Second)
	if before := l.tenant.NotBefore; before != nil && !before.Before(at) {
		return
	}
	var was any
	if l.tenant.NotBefore != nil {
		was = l.tenant.NotBefore.UTC().Format(time.RFC3339Nano)
	}
	l.addEvent(audit.Event{Action: audit.TenantUpdated}, map[string]any{
		"not_before": map[string]any{"before": was, "after": at.Format(time.RFC3339Nano)},
	})
	l.tenant.NotBefore, l.tenant.UpdatedAt = &at, l.at
}

// writeWithTenantRow writes the ledger and the tenant's own row.
func (l *ledger) writeWithTenantRow(ctx context.Context, tx *db.Tx) error {
	l.writesTenantRow = true
	w, err := l.queueWithTenantRow(ctx, tx)
	if err != nil {
		return err
	}
	return w.Send(ctx)
}

// queueWithTenantRow queues the tenant's own row, and then the ledger's statements.
func (l *ledger) queueWithTenantRow(ctx context.Context, tx *db.Tx) (*db.Writes, error) {
	st := new(statements).addLedgers([]*ledger{l})
	w := tx.Later()
	if _, err := w.UpdateTenant(ctx, l.tenantParams()); err != nil {
		return nil, err
	}
	w.Expect(1)
	return w, st.queueTo(ctx, w)
}
