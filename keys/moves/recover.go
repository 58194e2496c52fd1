package moves

import (
	"context"
	"time"

	"github.com/go-jose/go-jose/v4"
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
	Lost    *Lost  // nil: which events are missing is not known
}

// Lost is what a copy of a tenant's history says of the keys in the events that the
// restored history lacks.
type Lost struct {
	Events    int64                  // that are missing
	Revoked   map[string]keys.Reason // by kid
	NotBefore *time.Time             // the last one that was set; nil: none was
}

// restoredComment is the comment of a recovery's revocations.
const restoredComment = "the database was restored to an earlier time"

// Recover revokes what came back to life in a tenant whose restored history lacks events.
// If they are known, these are the keys that were revoked in them, and not_before is
// raised as it was. If not, any key may have been revoked: Recover revokes all published keys as
// compromised, activates new ones, and moves not_before to now, so that verifiers refuse
// every token that is older. The event tenant.recovered says why. Errors: those of
// RevokeAll.
func (s *Store) Recover(ctx context.Context, by audit.By, tenantID uuid.UUID, r Recovery) (MassRevocation, error) {
	var out MassRevocation
	err := s.withLockedTenant(ctx, by, tenantID, func(tx *db.Tx, l *ledger, m *keySupply) (err error) {
		if r.Lost != nil {
			out, err = l.revokeLost(*r.Lost, m)
		} else if out, err = l.revokeAllKeys(keys.Compromised, restoredComment, m); err == nil {
			l.refuseTokensBefore(l.at.Truncate(time.Second)) // whole seconds, as iat has them
		}
		if err != nil {
			return err
		}
		details := map[string]any{"checkpoint_seq": r.Seq, "checkpoint_hash": r.Hash, "restored_seq": r.HeadSeq, "revoked_keys": len(out.Revoked)}
		if r.Lost != nil {
			details["lost_events"] = r.Lost.Events
		}
		l.addEvent(audit.Event{Action: audit.TenantRecovered}, details)
		return l.writeWithTenantRow(ctx, tx)
	})
	return out, err
}

// revokeLost revokes the keys that were revoked in lost events, all of them before any is
// replaced, so that none takes over from another.
func (l *ledger) revokeLost(lost Lost, m *keySupply) (out MassRevocation, err error) {
	modes := map[jose.SignatureAlgorithm]Mode{} // of the algorithms that lost a key that signs or will
	for i := range l.keys {
		k := &l.keys[i]
		reason, revoked := lost.Revoked[k.KID]
		if !revoked || !k.State.Published() {
			continue
		}
		if k.State != keys.Deprecated && modes[k.Alg] != FreshTakesOver {
			modes[k.Alg] = RevokeRequest{Reason: reason}.effectiveMode()
		}
		if err := l.revoke(k, reason, restoredComment); err != nil {
			return out, err
		}
		out.Revoked = append(out.Revoked, l.entryOf(*k))
	}
	for _, p := range l.policies {
		if mode, lost := modes[p.Alg]; lost {
			var replaced Revocation
			if err := l.replaceRevoked(p.Alg, mode, m, &replaced); err != nil {
				return out, err
			}
			if replaced.Active != nil {
				out.Active = append(out.Active, *replaced.Active)
			}
		}
		l.reschedule(p)
	}
	if lost.NotBefore != nil {
		l.refuseTokensBefore(*lost.NotBefore)
	}
	return out, nil
}

// refuseTokensBefore moves the tenant's not_before to a time, unless it is later already.
func (l *ledger) refuseTokensBefore(at time.Time) {
	if before := l.tenant.NotBefore; before != nil && !before.Before(at) {
		return
	}
	var was any
	if l.tenant.NotBefore != nil {
		was = l.tenant.NotBefore.UTC().Format(time.RFC3339Nano)
	}
	l.addEvent(audit.Event{Action: audit.TenantUpdated}, map[string]any{
		"not_before": map[string]any{"before": was, "after": at.UTC().Format(time.RFC3339Nano)},
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
