package custody

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
)

// DataKeyRow is the row of a new data key.
type DataKeyRow db.InsertDataKeyParams

// DataKeyRows are the rows of tenants' current data keys.
type DataKeyRows []db.CurrentDataKeysRow

// NewDataKey makes a data key of a tenant and its row, wrapped under the
// current master key. Errors: db.ErrUnavailable for a KMS without an answer.
func (c *Custody) NewDataKey(ctx context.Context, tenantID uuid.UUID, version int32, now time.Time) (Sealer, DataKeyRow, error) {
	c.mu.Lock()
	id := c.current
	c.mu.Unlock()
	m, err := c.masterKey(ctx, id)
	if err != nil {
		return Sealer{}, DataKeyRow{}, err
	}
	key, err := seal.NewDataKey()
	if err != nil {
		return Sealer{}, DataKeyRow{}, err
	}
	wrapped, err := m.WrapDataKey(ctx, tenantID, version, key)
	err = asUnavailable(err)
	row := DataKeyRow{TenantID: tenantID, Version: version, Wrapped: wrapped, MasterKeyID: &id, CreatedAt: now}
	return Sealer{Version: version, Key: key}, row, err
}

// OpenDataKey returns a tenant's data key from memory, or unwraps it. Errors:
// seal.ErrCannotOpen, db.ErrUnavailable.
func (c *Custody) OpenDataKey(ctx context.Context, tenantID uuid.UUID, version int32, wrapped []byte, masterID *uuid.UUID) (*seal.DataKey, error) {
	if masterID == nil { // even if this process has it open still
		return nil, fmt.Errorf("keys: there is no data key %d of tenant %s, or it is destroyed", version, tenantID)
	}
	name := dataKeyName{tenantID, version}
	return c.dataKeys.Get(ctx, name, otter.LoaderFunc[dataKeyName, *seal.DataKey](
		func(ctx context.Context, _ dataKeyName) (*seal.DataKey, error) {
			m, err := c.masterKey(ctx, *masterID)
			if err != nil {
				return nil, asUnavailable(err)
			}
			key, err := m.UnwrapDataKey(ctx, tenantID, version, wrapped)
			return key, asUnavailable(err)
		}))
}

// asUnavailable turns the error of an unreachable KMS into db.ErrUnavailable,
// as for an unreachable database, so that callers retry.
func asUnavailable(err error) error {
	if errors.Is(err, seal.ErrUnavailable) {
		return fmt.Errorf("%w: %w", db.ErrUnavailable, err)
	}
	return err
}

// Sealers opens the current data keys of tenants. Keys that cannot be opened
// are logged and left out.
func (c *Custody) Sealers(ctx context.Context, tenantIDs ...uuid.UUID) (map[uuid.UUID]Sealer, error) {
	var rows []db.CurrentDataKeysRow
	err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		rows, err = tx.CurrentDataKeys(ctx, tenantIDs)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.openDataKeys(ctx, rows), nil
}

// SealerFrom opens the current data key of one tenant from its row. Errors:
// ErrDataKey.
func (c *Custody) SealerFrom(ctx context.Context, tenantID uuid.UUID, rows DataKeyRows) (Sealer, error) {
	s, opened := c.openDataKeys(ctx, rows)[tenantID]
	if !opened {
		return Sealer{}, ErrDataKey
	}
	return s, nil
}

// openDataKeys opens data keys. Those that cannot be opened are logged and left
// out.
func (c *Custody) openDataKeys(ctx context.Context, rows []db.CurrentDataKeysRow) map[uuid.UUID]Sealer {
	open := make(map[uuid.UUID]Sealer, len(rows))
	for _, row := range rows {
		key, err := c.OpenDataKey(ctx, row.TenantID, row.Version, row.Wrapped, row.MasterKeyID)
		if err != nil {
			// One tenant's damage must not stop the others.
			c.cfg.Log.Error("data key cannot be opened", "tenant_id", row.TenantID, "version", row.Version, "error", err)
			continue
		}
		open[row.TenantID] = Sealer{Version: row.Version, Key: key}
	}
	return open
}

// InvalidateDataKey drops a tenant's opened data key from memory.
func (c *Custody) InvalidateDataKey(tenantID uuid.UUID, version int32) {
	c.dataKeys.Invalidate(dataKeyName{tenantID, version})
}

// InvalidateDataKeys drops every opened data key from memory.
func (c *Custody) InvalidateDataKeys() { c.dataKeys.InvalidateAll() }
