package keys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
	"github.com/maypok86/otter/v2"
)

// Errors of custody; test with errors.Is.
var (
	// ErrNoMasterKey means that the database has no master key yet, or that
	// none was configured.
	ErrNoMasterKey = errors.New("keys: no master key")
	// ErrWrongMasterKey means that the configured master key is not the one
	// the database's data keys are wrapped by.
	ErrWrongMasterKey = errors.New("keys: wrong master key")
)

// CustodyConfig says where the master key is and how long what it opened is
// kept in memory.
type CustodyConfig struct {
	DB  *db.DB
	URI string // KEYWARD_MASTER_KEY
	Now func() time.Time
	Log *slog.Logger
	// MaxDataKeys bounds the opened data keys in memory; 0: 100,000.
	MaxDataKeys int
	// DataKeyLifetime is how long an opened data key is kept; 0: 15 minutes.
	DataKeyLifetime time.Duration
	// RewrapBatch bounds the data keys of one transaction of a re-wrap; 0: 500.
	RewrapBatch int32
}

// Custody holds the master keys this process may use and the tenants' data
// keys it has opened with them.
//
// A master key is used only if the configured URI holds it, or if it descends
// from one that does by a chain of endorsements: who can write the database
// but holds no master key cannot bring one in. What a data key is wrapped by
// is in its row, so nothing is ever tried.
type Custody struct {
	cfg      CustodyConfig
	dataKeys *otter.Cache[dataKeyName, *seal.DataKey]

	mu      sync.Mutex
	ring    *seal.Ring
	rows    map[uuid.UUID]db.MasterKey
	opened  map[uuid.UUID]*seal.MasterKey
	current uuid.UUID
}

type dataKeyName struct {
	tenantID uuid.UUID
	version  int32
}

// sealer is a tenant's current data key, opened.
type sealer struct {
	version int32
	key     *seal.DataKey
}

// NewCustody prepares custody; nothing is opened before Open.
func NewCustody(cfg CustodyConfig) *Custody {
	if cfg.MaxDataKeys == 0 {
		cfg.MaxDataKeys = 100_000
	}
	if cfg.DataKeyLifetime == 0 {
		cfg.DataKeyLifetime = 15 * time.Minute
	}
	if cfg.RewrapBatch == 0 {
		cfg.RewrapBatch = 500
	}
	return &Custody{
		cfg:    cfg,
		opened: make(map[uuid.UUID]*seal.MasterKey),
		dataKeys: otter.Must(&otter.Options[dataKeyName, *seal.DataKey]{
			MaximumSize:      cfg.MaxDataKeys,
			ExpiryCalculator: otter.ExpiryWriting[dataKeyName, *seal.DataKey](cfg.DataKeyLifetime),
		}),
	}
}

// Open opens the configured master key and proves that it is the one this
// database uses; in a database without one it is registered as the first.
// Nothing may be served before. Errors: seal's for what the URI names,
// ErrWrongMasterKey, ErrUnavailable.
func (c *Custody) Open(ctx context.Context) error {
	ring, err := seal.Open(ctx, c.cfg.URI)
	if errors.Is(err, seal.ErrNoMasterKey) {
		return c.missing(ctx, err)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.ring = ring
	c.mu.Unlock()
	if err := c.Refresh(ctx); !errors.Is(err, ErrNoMasterKey) {
		return err
	}
	if err := c.registerFirst(ctx, ring); err != nil {
		return err
	}
	return c.Refresh(ctx)
}

// missing tells a database that was never used, which needs a first master
// key, from one that lost its own, which no new one can replace.
func (c *Custody) missing(ctx context.Context, cause error) error {
	rows, err := c.masterRows(ctx)
	if err == nil && len(rows) > 0 {
		return fmt.Errorf("%w: this database already uses one; restore %s, a new one opens nothing",
			ErrWrongMasterKey, seal.Redact(c.cfg.URI))
	}
	return fmt.Errorf("%w: %w", ErrNoMasterKey, cause)
}

// Refresh reads which master key is current and opens it, unless it is open.
// Every replica does so when the platform's tenant changes and once a minute,
// so that a rotation reaches all of them while they run.
func (c *Custody) Refresh(ctx context.Context) error {
	rows, err := c.masterRows(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows, c.current = make(map[uuid.UUID]db.MasterKey, len(rows)), uuid.Nil
	for _, row := range rows {
		c.rows[row.ID] = row
		if row.IsCurrent {
			c.current = row.ID
		}
	}
	if c.current == uuid.Nil {
		return ErrNoMasterKey
	}
	_, err = c.master(ctx, c.current)
	return err
}

// Check reports whether the current master key is usable, for readiness.
func (c *Custody) Check(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == uuid.Nil {
		return ErrNoMasterKey
	}
	m, err := c.master(ctx, c.current)
	if err != nil {
		return err
	}
	return m.VerifyKeyCheck(ctx, c.current, c.rows[c.current].KeyCheck)
}

func (c *Custody) masterRows(ctx context.Context) (rows []db.MasterKey, err error) {
	err = c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		rows, err = tx.ListMasterKeys(ctx)
		return err
	})
	return rows, err
}

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

// newDataKey makes a data key of a tenant and the row that keeps it.
func (c *Custody) newDataKey(ctx context.Context, tenantID uuid.UUID, version int32, now time.Time) (sealer, db.InsertDataKeyParams, error) {
	c.mu.Lock()
	id := c.current
	c.mu.Unlock()
	m, err := c.masterKey(ctx, id)
	if err != nil {
		return sealer{}, db.InsertDataKeyParams{}, err
	}
	key, err := seal.NewDataKey()
	if err != nil {
		return sealer{}, db.InsertDataKeyParams{}, err
	}
	wrapped, err := m.WrapDataKey(ctx, tenantID, version, key)
	row := db.InsertDataKeyParams{TenantID: tenantID, Version: version, Wrapped: wrapped, MasterKeyID: &id, CreatedAt: now}
	return sealer{version: version, key: key}, row, err
}

// dataKey opens a tenant's data key, or takes it from memory.
func (c *Custody) dataKey(ctx context.Context, tenantID uuid.UUID, version int32, wrapped []byte, masterID *uuid.UUID) (*seal.DataKey, error) {
	name := dataKeyName{tenantID, version}
	return c.dataKeys.Get(ctx, name, otter.LoaderFunc[dataKeyName, *seal.DataKey](
		func(ctx context.Context, _ dataKeyName) (*seal.DataKey, error) {
			if masterID == nil {
				return nil, fmt.Errorf("keys: data key %d of tenant %s is destroyed", version, tenantID)
			}
			m, err := c.masterKey(ctx, *masterID)
			if err != nil {
				return nil, err
			}
			return m.UnwrapDataKey(ctx, tenantID, version, wrapped)
		}))
}

// sealers opens the current data keys of tenants.
func (c *Custody) sealers(ctx context.Context, tenantIDs ...uuid.UUID) (map[uuid.UUID]sealer, error) {
	var rows []db.CurrentDataKeysRow
	err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		rows, err = tx.CurrentDataKeys(ctx, tenantIDs)
		return err
	})
	if err != nil {
		return nil, err
	}
	open := make(map[uuid.UUID]sealer, len(rows))
	for _, row := range rows {
		key, err := c.dataKey(ctx, row.TenantID, row.Version, row.Wrapped, row.MasterKeyID)
		if err != nil {
			// One tenant's damage must not stop the others.
			c.cfg.Log.Error("data key cannot be opened", "tenant_id", row.TenantID, "version", row.Version, "error", err)
			continue
		}
		open[row.TenantID] = sealer{version: row.Version, key: key}
	}
	return open, nil
}

// forget drops a tenant's opened data keys from memory.
func (c *Custody) forget(tenantID uuid.UUID, version int32) {
	c.dataKeys.Invalidate(dataKeyName{tenantID, version})
}
