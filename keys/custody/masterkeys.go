package custody

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
)

// registerFirst writes down the key a new database begins with. Of several
// processes that start at once one wins; the others then find its row.
func (c *Custody) registerFirst(ctx context.Context, ring *seal.Ring) error {
	row, err := describe(ctx, ring, ring.Newest(), c.cfg.Now())
	if err != nil {
		return err
	}
	err = c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error { return tx.InsertMasterKey(ctx, row) })
	switch db.Constraint(err) {
	case "master_keys_one_first", "master_keys_one_current", "master_keys_version_once":
		return nil
	}
	return err
}

// describe makes the row of a master key, without a voucher.
func describe(ctx context.Context, ring *seal.Ring, version string, now time.Time) (db.InsertMasterKeyParams, error) {
	key, err := ring.Key(ctx, version)
	if err != nil {
		return db.InsertMasterKeyParams{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return db.InsertMasterKeyParams{}, err
	}
	check, err := key.KeyCheck(ctx, id)
	if err != nil {
		return db.InsertMasterKeyParams{}, err
	}
	return db.InsertMasterKeyParams{ID: id, URI: ring.URI(), Version: version, KeyCheck: check, CreatedAt: now}, nil
}

// master opens one master key. The caller holds mu.
func (c *Custody) master(ctx context.Context, id uuid.UUID) (*seal.MasterKey, error) {
	if m := c.opened[id]; m != nil {
		return m, nil
	}
	row, known := c.rows[id]
	if !known {
		return nil, fmt.Errorf("%w: master key %s is not in the database", ErrWrongMasterKey, id)
	}
	m, err := c.configured(ctx, row)
	if errors.Is(err, ErrWrongMasterKey) && row.EndorsedBy != nil {
		m, err = c.endorsed(ctx, row)
	}
	if err != nil {
		return nil, err
	}
	c.opened[id] = m
	return m, nil
}

// configured finds the key at the configured URI. URIs are not compared, they
// may be written differently: the key check is what proves the key.
func (c *Custody) configured(ctx context.Context, row db.MasterKey) (*seal.MasterKey, error) {
	if c.ring == nil {
		return nil, fmt.Errorf("%w: %s is not open", ErrNoMasterKey, seal.Redact(c.cfg.URI))
	}
	m, err := c.ring.Key(ctx, row.Version)
	if err == nil {
		err = m.VerifyKeyCheck(ctx, row.ID, row.KeyCheck)
	}
	if errors.Is(err, seal.ErrUnknownVersion) || errors.Is(err, seal.ErrWrongMasterKey) {
		return nil, fmt.Errorf("%w: the database uses version %s of %s, which %s does not hold",
			ErrWrongMasterKey, row.Version, seal.Redact(row.URI), seal.Redact(c.cfg.URI))
	}
	return m, err
}

// endorsed follows the row to its own URI, if a key that is trusted already
// vouches for it.
func (c *Custody) endorsed(ctx context.Context, row db.MasterKey) (*seal.MasterKey, error) {
	voucher, err := c.master(ctx, *row.EndorsedBy)
	if err != nil {
		return nil, err
	}
	s := seal.Successor{ID: row.ID, URI: row.URI, Version: row.Version}
	if err := voucher.VerifyEndorsement(ctx, s, row.Endorsement); err != nil {
		return nil, fmt.Errorf("%w: nobody vouches for %s: %w", ErrWrongMasterKey, seal.Redact(row.URI), err)
	}
	ring, err := seal.Open(ctx, row.URI)
	if err != nil {
		return nil, err
	}
	m, err := ring.Key(ctx, row.Version)
	if err != nil {
		return nil, err
	}
	return m, m.VerifyKeyCheck(ctx, row.ID, row.KeyCheck)
}

// masterKey opens a master key by its id, having looked again at the database
// if it is new: another process may have rotated.
func (c *Custody) masterKey(ctx context.Context, id uuid.UUID) (*seal.MasterKey, error) {
	c.mu.Lock()
	_, known := c.rows[id]
	c.mu.Unlock()
	if !known {
		if err := c.Refresh(ctx); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.master(ctx, id)
}

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
