package moves

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
)

// DataKeyRotation is what a rotation of a tenant's data key did.
type DataKeyRotation struct {
	Version   int32 // current from now on
	Resealed  int   // private keys that were sealed anew
	CreatedAt time.Time
}

// RotateDataKey gives a tenant a new data key, seals its private keys anew
// and destroys the old one, in one transaction: a tenant has two private keys
// per policy, so there is nothing to leave for later. Signing goes on. Errors:
// tenant.ErrNotFound, custody.ErrDataKey, ErrUnavailable.
func (s *Store) RotateDataKey(ctx context.Context, by audit.By, tenantID uuid.UUID) (DataKeyRotation, error) {
	var (
		out  DataKeyRotation
		gone []int32
	)
	err := s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		l, err := s.open(ctx, tx, by, tenantID)
		if err != nil {
			return err
		}
		live, err := tx.ListLiveDataKeys(ctx, tenantID)
		if err != nil {
			return err
		}
		next := live[len(live)-1].Version + 1
		fresh, row, err := s.cfg.Custody.NewDataKey(ctx, tenantID, next, l.at)
		if err != nil {
			return err
		}
		kids, sealed, err := s.reseal(ctx, tx, tenantID, live, fresh)
		if err != nil {
			return err
		}
		gone = l.noteDataKeys(live, next)
		out = DataKeyRotation{Version: next, Resealed: len(kids), CreatedAt: l.at}
		return l.writeDataKey(ctx, tx, row, kids, sealed, len(gone))
	})
	if err != nil {
		return DataKeyRotation{}, err
	}
	for _, v := range gone {
		s.cfg.Custody.Forget(tenantID, v)
	}
	return out, nil
}

// reseal opens every private key of the tenant and closes it under the fresh
// data key.
func (s *Store) reseal(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, live []db.ListLiveDataKeysRow, fresh custody.Sealer) (kids []string, sealed [][]byte, err error) {
	old := map[int32]*seal.DataKey{}
	for _, row := range live {
		key, err := s.cfg.Custody.OpenDataKey(ctx, tenantID, row.Version, row.Wrapped, row.MasterKeyID)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: version %d: %w", custody.ErrDataKey, row.Version, err)
		}
		old[row.Version] = key
	}
	rows, err := tx.ListSealedKeys(ctx, tenantID)
	if err != nil {
		return nil, nil, err
	}
	for _, row := range rows {
		key, live := old[*row.DataKeyVersion]
		if !live {
			return nil, nil, fmt.Errorf("%w: key %s: its data key is destroyed", custody.ErrDataKey, row.KID)
		}
		der, err := key.Open(tenantID, *row.DataKeyVersion, row.KID, row.SealedPrivate)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: key %s: %w", custody.ErrDataKey, row.KID, err)
		}
		closed, err := fresh.Key.Seal(tenantID, fresh.Version, row.KID, der)
		clear(der)
		if err != nil {
			return nil, nil, err
		}
		kids, sealed = append(kids, row.KID), append(sealed, closed)
	}
	return kids, sealed, nil
}

func (l *ledger) noteDataKeys(live []db.ListLiveDataKeysRow, next int32) (gone []int32) {
	l.note(audit.Event{Action: audit.DataKeyRotated}, map[string]any{"version": next})
	for _, row := range live {
		l.note(audit.Event{Action: audit.DataKeyDestroyed}, map[string]any{"version": row.Version})
		gone = append(gone, row.Version)
	}
	return gone
}

func (l *ledger) writeDataKey(ctx context.Context, tx *db.Tx, row custody.DataKeyRow, kids []string, sealed [][]byte, gone int) error {
	w := tx.Later()
	if _, err := w.SupersedeDataKey(ctx, l.tenant.ID); err != nil {
		return err
	}
	w.Expect(1)
	if err := w.InsertDataKey(ctx, db.InsertDataKeyParams(row)); err != nil {
		return err
	}
	_, err := w.ResealKeys(ctx, db.ResealKeysParams{TenantID: l.tenant.ID, NewVersion: row.Version, Kids: kids, SealedPrivates: sealed})
	if err != nil {
		return err
	}
	w.Expect(len(kids))
	if _, err := w.DestroyDataKeys(ctx, &l.at, l.tenant.ID, row.Version); err != nil {
		return err
	}
	w.Expect(gone)
	if err := new(statements).collect([]*ledger{l}).queue(ctx, w); err != nil {
		return err
	}
	return w.Send(ctx)
}
