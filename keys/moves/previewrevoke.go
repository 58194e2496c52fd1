package moves

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
)

// PreviewRevocation answers what Revoke would do, and changes nothing: the key
// as it would be, who would sign, and until when which verifiers would trust
// it. A key that only the real thing makes is missing. Errors: those of Revoke.
func (s *Store) PreviewRevocation(ctx context.Context, by audit.By, tenantID uuid.UUID, kid string, req RevokeRequest) (Revocation, error) {
	l, err := s.imagine(ctx, by, tenantID)
	if err != nil {
		return Revocation{}, err
	}
	out, _, err := l.condemn(kid, req)
	if errors.Is(err, errNotInLedger) {
		return Revocation{}, s.gone(ctx, tenantID, kid)
	}
	if err != nil {
		return Revocation{}, err
	}
	if k := l.in(out.Key.Alg, keys.Standby); k != nil && out.Mode == StandbyTakesOver {
		if err := l.activate(k, keys.ByRevocation); err != nil {
			return Revocation{}, err
		}
		active := l.entry(*k)
		out.Active = &active
	}
	return out, nil
}

// PreviewRevokeAll answers what RevokeAll would do, and changes nothing. The
// keys in place of the revoked ones are made only by the real thing. Errors:
// those of RevokeAll.
func (s *Store) PreviewRevokeAll(ctx context.Context, by audit.By, tenantID uuid.UUID, reason keys.Reason, comment string) (MassRevocation, error) {
	l, err := s.imagine(ctx, by, tenantID)
	if err != nil {
		return MassRevocation{}, err
	}
	return l.condemnAll(reason, comment)
}
