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

// registerFirst stores the first master key of a new database. Of several
// processes that start at once one succeeds; the others then read its row.
func (c *Custody) registerFirst(ctx context.Context, ring *seal.Ring) error {
	authority, err := seal.NewDataKey()
	if err != nil {
		return err
	}
	defer authority.Destroy()
	row, err := newMasterRow(ctx, ring, ring.Newest(), authority, c.cfg.Now())
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

// newMasterRow makes the row of a master key, without an endorsement. authority is the
// key that authenticates rows.
func newMasterRow(ctx context.Context, ring *seal.Ring, version string, authority *seal.DataKey, now time.Time) (db.InsertMasterKeyParams, error) {
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
	wrapped, err := key.WrapAuthorityKey(ctx, id, authority)
	if err != nil {
		return db.InsertMasterKeyParams{}, err
	}
	return db.InsertMasterKeyParams{ID: id, URI: ring.URI(), Version: version, KeyCheck: check, Authority: wrapped, CreatedAt: now}, nil
}

// openMaster returns a master key of the database that is open, or opens it, one at a
// time.
func (c *Custody) openMaster(ctx context.Context, id uuid.UUID) (*seal.MasterKey, error) {
	if m, _, _ := c.knownMaster(id); m != nil {
		return m, nil
	}
	if err := c.opening.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer c.opening.Release(1)
	return c.openNext(ctx, id)
}

// knownMaster returns a master key if it is open, and its row if there is one.
func (c *Custody) knownMaster(id uuid.UUID) (m *seal.MasterKey, row db.MasterKey, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	row, known = c.rows[id]
	return c.opened[id], row, known
}

// openNext opens a master key. The caller holds opening.
func (c *Custody) openNext(ctx context.Context, id uuid.UUID) (*seal.MasterKey, error) {
	m, row, known := c.knownMaster(id)
	if m != nil {
		return m, nil
	}
	if !known {
		return nil, fmt.Errorf("%w: master key %s is not in the database", ErrWrongMasterKey, id)
	}
	m, err := c.openConfigured(ctx, row)
	if errors.Is(err, ErrWrongMasterKey) && row.EndorsedBy != nil {
		m, err = c.openEndorsed(ctx, row)
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened[id] = m
	return m, nil
}

// openConfigured opens a master key at the configured URI. The key check proves
// that it is the right one; URIs are not compared, because the same place can
// be written differently.
func (c *Custody) openConfigured(ctx context.Context, row db.MasterKey) (*seal.MasterKey, error) {
	c.mu.Lock()
	ring := c.ring
	c.mu.Unlock()
	if ring == nil {
		return nil, fmt.Errorf("%w: %s is not open", ErrNoMasterKey, seal.Redact(c.cfg.URI))
	}
	m, err := ring.Key(ctx, row.Version)
	if err == nil {
		err = m.VerifyKeyCheck(ctx, row.ID, row.KeyCheck)
	}
	if errors.Is(err, seal.ErrUnknownVersion) || errors.Is(err, seal.ErrWrongMasterKey) {
		return nil, fmt.Errorf("%w: the database uses version %s of %s, which %s does not hold",
			ErrWrongMasterKey, row.Version, seal.Redact(row.URI), seal.Redact(c.cfg.URI))
	}
	return m, err
}

// openEndorsed opens a master key at its row's own URI, if an already trusted
// key endorsed it.
func (c *Custody) openEndorsed(ctx context.Context, row db.MasterKey) (*seal.MasterKey, error) {
	voucher, err := c.openNext(ctx, *row.EndorsedBy)
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

// masterKey opens a master key by its id. For an unknown id it reads the
// database again, because another process may have rotated.
func (c *Custody) masterKey(ctx context.Context, id uuid.UUID) (*seal.MasterKey, error) {
	if _, _, known := c.knownMaster(id); !known {
		if err := c.Refresh(ctx); err != nil {
			return nil, err
		}
	}
	return c.openMaster(ctx, id)
}

// MasterStatus is a master key and the number of data keys under it.
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

// Status lists every master key of the database, oldest first.
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
		out[i] = c.statusOf(ctx, row, wraps[row.ID])
	}
	return out, nil
}

// Pending counts the data keys that an ongoing or interrupted rotation has
// still to re-wrap.
func (c *Custody) Pending(ctx context.Context) (n int64, err error) {
	err = c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		n, err = tx.CountStaleDataKeys(ctx)
		return err
	})
	return n, err
}

func (c *Custody) statusOf(ctx context.Context, row db.MasterKey, dataKeys int64) MasterStatus {
	s := MasterStatus{
		ID: row.ID, URI: seal.Redact(row.URI), Version: row.Version, Current: row.IsCurrent,
		CreatedAt: row.CreatedAt.UTC(), RetiredAt: db.UTC(row.RetiredAt), DataKeys: dataKeys,
	}
	_, s.Usable = c.masterKey(ctx, row.ID)
	return s
}
