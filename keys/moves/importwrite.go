package moves

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// replayed finds what an earlier request under the same key has made. The
// tenant's lock is held, so there is none under way.
func replayed(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, idem *tenant.Idempotency) error {
	if idem == nil {
		return nil
	}
	row, err := tx.GetIdempotencyKey(ctx, tenantID, idem.CredentialID, idem.Key)
	if errors.Is(err, db.ErrNoRows) && idem.RepeatOnly {
		return tenant.ErrNotRepeated
	}
	if errors.Is(err, db.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return idem.Replay(row.RequestHash, row.ResourceID)
}

// again answers a repeated request: its keys as they are by now.
func (s *Store) again(ctx context.Context, tenantID uuid.UUID, cs []candidate) (entries []Entry, err error) {
	for _, c := range cs {
		e, err := s.Find(ctx, tenantID, c.kid)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// unused refuses kids that the tenant has or had, purged keys included.
func unused(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, cs []candidate) error {
	for _, c := range cs {
		_, err := tx.GetKey(ctx, tenantID, c.kid)
		if err == nil {
			return &UsedKIDError{KID: c.kid}
		}
		if !errors.Is(err, db.ErrNoRows) {
			return err
		}
	}
	return nil
}

// writeImport writes carriers as they come to be: made, then retired.
func (l *ledger) writeImport(ctx context.Context, tx *db.Tx, carriers []tenant.Policy, idem *tenant.Idempotency) error {
	w := tx.Later()
	var algs []string
	for _, p := range carriers {
		algs = append(algs, string(p.Alg))
		if err := w.UpsertPolicy(ctx, l.upsert(p)); err != nil {
			return err
		}
	}
	if err := new(statements).collect([]*ledger{l}).queue(ctx, w); err != nil {
		return err
	}
	if len(carriers) > 0 {
		if _, err := w.RetirePolicies(ctx, &l.at, l.tenant.ID, algs); err != nil {
			return err
		}
		w.Expect(len(carriers))
	}
	if idem != nil {
		err := w.InsertIdempotencyKey(ctx, db.InsertIdempotencyKeyParams{
			TenantID: l.tenant.ID, CredentialID: idem.CredentialID, Key: idem.Key, RequestHash: idem.RequestHash,
			ResourceID: l.tenant.ID, CreatedAt: l.at, // which keys, the request itself says
		})
		if err != nil {
			return fmt.Errorf("keys: remember the idempotency key: %w", err)
		}
	}
	return w.Send(ctx)
}
