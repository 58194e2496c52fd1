package moves

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
)

// MassRevocation is what RevokeAll did.
type MassRevocation struct {
	Revoked      []Entry
	Active       []Entry // one per live policy, known to no verifier
	Standby      []Entry
	TrustedUntil []Trust
	// BreaksTokensUntil is when the last token known to be signed with any of
	// them would have expired; nil if none is known to live.
	BreaksTokensUntil *time.Time
}

// RevokeAll takes every standby, active and deprecated key of a tenant out of
// the JWKS and puts fresh active and standby keys in their place. Errors:
// tenant.ErrNotFound, custody.ErrDataKey, ErrUnavailable.
func (s *Store) RevokeAll(ctx context.Context, by audit.By, tenantID uuid.UUID, reason keys.Reason, comment string) (MassRevocation, error) {
	var out MassRevocation
	err := s.change(ctx, by, tenantID, func(l *ledger, m *made) (err error) {
		out, err = l.revokeAll(reason, comment, m)
		return err
	})
	return out, err
}

func (l *ledger) revokeAll(reason keys.Reason, comment string, m *made) (out MassRevocation, err error) {
	if out, err = l.condemnAll(reason, comment); err != nil {
		return out, err
	}
	for _, p := range l.live() {
		active, err := m.enter(l, p.Alg, keys.ByRevokeAll)
		if err != nil {
			return out, err
		}
		standby, err := m.enter(l, p.Alg, "")
		if err != nil {
			return out, err
		}
		out.Active, out.Standby = append(out.Active, l.entry(active)), append(out.Standby, l.entry(standby))
	}
	for _, p := range l.policies {
		l.reschedule(p)
	}
	return out, nil
}

// condemnAll revokes what is published and says what follows, but for the keys
// in their place.
func (l *ledger) condemnAll(reason keys.Reason, comment string) (out MassRevocation, err error) {
	out.Revoked, err = l.revokePublished(reason, comment)
	out.TrustedUntil = TrustedUntil(l.at, l.tenant.Caching, FreshTakesOver, true)
	gone := make([]keys.Key, len(out.Revoked))
	for i, e := range out.Revoked {
		gone[i] = e.Key
	}
	out.BreaksTokensUntil = l.breaks(gone...)
	return out, err
}

func (l *ledger) revokePublished(reason keys.Reason, comment string) (revoked []Entry, err error) {
	for i := range l.keys {
		if k := &l.keys[i]; k.State.Published() {
			if err := l.revoke(k, reason, comment); err != nil {
				return nil, err
			}
			revoked = append(revoked, l.entry(*k))
		}
	}
	return revoked, nil
}

// Purge forgets the public part of every expired and revoked key now instead
// of after purge_after. Errors: tenant.ErrNotFound, ErrUnavailable.
func (s *Store) Purge(ctx context.Context, by audit.By, tenantID uuid.UUID) (purged []keys.Key, err error) {
	err = s.change(ctx, by, tenantID, func(l *ledger, _ *made) error {
		purged = nil
		for i := range l.keys {
			if k := &l.keys[i]; k.State == keys.Expired || k.State == keys.Revoked {
				if err := l.purge(k); err != nil {
					return err
				}
				purged = append(purged, *k)
			}
		}
		for _, p := range l.policies {
			l.reschedule(p)
		}
		return nil
	})
	return purged, err
}
