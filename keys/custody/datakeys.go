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
		return Sealer{}, DataKeyRow{}, asUnavailable(err)
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

// asUnavailable turns the error of a KMS that did not answer into db.ErrUnavailable,
// as for an unreachable database, so that callers retry. It may have had no time to: a
// deadline of the caller ended, or the caller for whom a data key was opened that
// others wait for went away.
func asUnavailable(err error) error {
	if errors.Is(err, seal.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
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

// OpenedSealer returns a tenant's current data key, by its row, if it is in memory. It
// asks no KMS, and so may be called under a lock.
func (c *Custody) OpenedSealer(rows DataKeyRows) (s Sealer, opened bool) {
	if len(rows) != 1 || rows[0].MasterKeyID == nil {
		return Sealer{}, false
	}
	key, opened := c.dataKeys.GetIfPresent(dataKeyName{rows[0].TenantID, rows[0].Version})
	return Sealer{Version: rows[0].Version, Key: key}, opened
}

// SealerFrom opens the current data key of one tenant from its row. It may ask a KMS: call
// it without a transaction. Errors: ErrDataKey; db.ErrUnavailable for a KMS without an
// answer.
func (c *Custody) SealerFrom(ctx context.Context, rows DataKeyRows) (Sealer, error) {
	if len(rows) != 1 {
		return Sealer{}, ErrDataKey
	}
	row := rows[0]
	key, err := c.OpenDataKey(ctx, row.TenantID, row.Version, row.Wrapped, row.MasterKeyID)
	if err != nil {
		return Sealer{}, refuseDataKey(row.Version, err)
	}
	return Sealer{Version: row.Version, Key: key}, nil
}

// refuseDataKey returns the error for a data key that does not open: ErrDataKey, unless the
// KMS has not answered.
func refuseDataKey(version int32, err error) error {
	if errors.Is(err, db.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: version %d: %w", ErrDataKey, version, err)
}

// LiveDataKeys are the rows of one tenant's data keys that are not destroyed.
type LiveDataKeys []db.ListLiveDataKeysRow

// OpenedDataKeys are opened data keys of one tenant by version.
type OpenedDataKeys map[int32]*seal.DataKey

// OpenLiveDataKeys opens every data key of a tenant that is not destroyed. It asks a KMS for
// those that are not in memory: call it without a transaction, and compare Covers under the
// tenant's lock. Errors: ErrDataKey, db.ErrUnavailable.
func (c *Custody) OpenLiveDataKeys(ctx context.Context, tenantID uuid.UUID) (OpenedDataKeys, error) {
	var live []db.ListLiveDataKeysRow
	err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		live, err = tx.ListLiveDataKeys(ctx, tenantID)
		return err
	})
	if err != nil {
		return nil, err
	}
	open := OpenedDataKeys{}
	for _, row := range live {
		if open[row.Version], err = c.OpenDataKey(ctx, tenantID, row.Version, row.Wrapped, row.MasterKeyID); err != nil {
			return nil, refuseDataKey(row.Version, err)
		}
	}
	return open, nil
}

// Newest returns the highest version, 0 if there is none.
func (o OpenedDataKeys) Newest() (newest int32) {
	for version := range o {
		newest = max(newest, version)
	}
	return newest
}

// Covers reports whether exactly these data keys are live.
func (o OpenedDataKeys) Covers(live LiveDataKeys) bool {
	for _, row := range live {
		if o[row.Version] == nil {
			return false
		}
	}
	return len(live) == len(o)
}

// openDataKeys opens data keys. Those that cannot be opened are logged and left
// out; once the KMS has not answered, it is not asked for the others.
func (c *Custody) openDataKeys(ctx context.Context, rows []db.CurrentDataKeysRow) map[uuid.UUID]Sealer {
	open := make(map[uuid.UUID]Sealer, len(rows))
	var away error
	for _, row := range rows {
		if s, opened := c.OpenedSealer(DataKeyRows{row}); opened {
			open[row.TenantID] = s
			continue
		}
		if away != nil {
			continue
		}
		key, err := c.OpenDataKey(ctx, row.TenantID, row.Version, row.Wrapped, row.MasterKeyID)
		if err != nil {
			// One tenant's damage must not stop the others.
			c.cfg.Log.Error("data key cannot be opened", "tenant_id", row.TenantID, "version", row.Version, "error", err)
			if errors.Is(err, db.ErrUnavailable) {
				away = err
			}
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
