package signing

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// Stray returns the kids of keys that somebody has written by hand: whose state
// is not the one that the tenant's history ends with, or whose public key is
// not the one that a generated kid names. No operation leaves any. Errors:
// moves.ErrUnavailable.
func (s *Signer) Stray(ctx context.Context, tenantID uuid.UUID) (kids []string, err error) {
	err = s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		if kids, err = tx.ListStrayKeys(ctx, tenantID); err != nil {
			return err
		}
		rows, err := tx.ListKeysEver(ctx, tenantID)
		for _, row := range rows {
			if k := destroyed(row); k.Origin == keys.Generated && k.Thumbprint != k.KID && !slices.Contains(kids, k.KID) {
				kids = append(kids, k.KID)
			}
		}
		return err
	})
	return kids, err
}
