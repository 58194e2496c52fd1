package custody

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
)

// MasterStatus is one master key and what it still wraps.
type MasterStatus struct {
	ID        uuid.UUID
	URI       string // without credentials
	Version   string
	Current   bool
	CreatedAt time.Time
	RetiredAt *time.Time
	DataKeys  int64 // wrapped by it now
	// Usable is nil if this process can open it.
	Usable error
}

// Status lists every master key the database knows, oldest first.
func (c *Custody) Status(ctx context.Context) ([]MasterStatus, error) {
	var (
		rows   []db.MasterKey
		counts []db.CountWrappedDataKeysRow
	)
	err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		if rows, err = tx.ListMasterKeys(ctx); err == nil {
			counts, err = tx.CountWrappedDataKeys(ctx)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	wraps := map[uuid.UUID]int64{}
	for _, n := range counts {
		wraps[*n.MasterKeyID] = n.DataKeys
	}
	out := make([]MasterStatus, len(rows))
	for i, row := range rows {
		out[i] = c.status(ctx, row, wraps[row.ID])
	}
	return out, nil
}

// Pending counts the data keys that are not under the current master key: what
// a rotation that is under way, or was interrupted, has still to do.
func (c *Custody) Pending(ctx context.Context) (n int64, err error) {
	err = c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		n, err = tx.CountStaleDataKeys(ctx)
		return err
	})
	return n, err
}

func (c *Custody) status(ctx context.Context, row db.MasterKey, dataKeys int64) MasterStatus {
	s := MasterStatus{
		ID: row.ID, URI: seal.Redact(row.URI), Version: row.Version, Current: row.IsCurrent,
		CreatedAt: row.CreatedAt.UTC(), RetiredAt: db.UTC(row.RetiredAt), DataKeys: dataKeys,
	}
	_, s.Usable = c.masterKey(ctx, row.ID)
	return s
}
