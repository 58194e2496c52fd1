package moves

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// errPlatformExport rejects the export of the platform's own keys: their holder could
// forge checkpoints and certificates.
var errPlatformExport = errors.New("keys: private keys of the platform's own tenant are not exported")

// ExportPrivate returns the tenant's private keys by kid, as PKCS#8 that the caller must
// clear, and records an event for each. Only an operator with the database and the master
// key can call it: there is no endpoint. Errors: tenant.ErrNotFound, custody.ErrDataKey,
// ErrUnavailable.
func (s *Store) ExportPrivate(ctx context.Context, by audit.By, tenantID uuid.UUID, reason string) (map[string][]byte, error) {
	for {
		open, err := s.openLiveDataKeys(ctx, tenantID)
		if err != nil {
			return nil, err
		}
		private, err := s.exportPrivate(ctx, by, tenantID, reason, open)
		if !errors.Is(err, errDataKeysChanged) {
			return private, err
		}
	}
}

// exportPrivate exports the private keys with data keys that are open. Errors:
// errDataKeysChanged.
func (s *Store) exportPrivate(ctx context.Context, by audit.By, tenantID uuid.UUID, reason string, open custody.OpenedDataKeys) (private map[string][]byte, err error) {
	err = s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		l, err := s.lockTenant(ctx, tx, by, tenantID)
		if err != nil {
			return err
		}
		if l.tenant.Slug == tenant.PlatformSlug {
			return errPlatformExport
		}
		if private, err = unsealKeys(ctx, tx, tenantID, open); err != nil {
			return err
		}
		for i := range l.keys {
			if k := &l.keys[i]; private[k.KID] != nil {
				l.addEvent(audit.Event{Action: audit.KeyExported, KID: k.KID, Reason: reason}, map[string]any{"alg": k.Alg, "state": k.State})
			}
		}
		return writeLedgers(ctx, tx, l)
	})
	if err != nil {
		return nil, err
	}
	return private, nil
}

// unsealKeys decrypts every private key of a tenant.
func unsealKeys(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, opened custody.OpenedDataKeys) (map[string][]byte, error) {
	live, err := tx.ListLiveDataKeys(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	if !opened.Covers(live) {
		return nil, errDataKeysChanged
	}
	rows, err := tx.ListSealedKeys(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	private := map[string][]byte{}
	for _, row := range rows {
		key, live := opened[*row.DataKeyVersion]
		if !live {
			return nil, fmt.Errorf("%w: key %s: its data key is destroyed", custody.ErrDataKey, row.KID)
		}
		if private[row.KID], err = key.Open(tenantID, *row.DataKeyVersion, row.KID, row.SealedPrivate); err != nil {
			return nil, fmt.Errorf("%w: key %s: %w", custody.ErrDataKey, row.KID, err)
		}
	}
	return private, nil
}
