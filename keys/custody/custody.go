package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// Errors of custody; test with errors.Is.
var (
	// ErrNoMasterKey means that the database has no master key yet, or that
	// none was configured.
	ErrNoMasterKey = errors.New("keys: no master key")
	// ErrWrongMasterKey means that the configured master key is not the one
	// the database's data keys are wrapped by.
	ErrWrongMasterKey = errors.New("keys: wrong master key")
	// ErrDataKey means that a tenant's data key does not open: its private
	// keys cannot be read and no new ones can be sealed.
	ErrDataKey = errors.New("keys: the tenant's data key cannot be opened")
)

// Config names the master key and limits how long opened keys stay in memory.
type Config struct {
	DB  *db.DB
	URI string // KEYWARD_MASTER_KEY
	Now func() time.Time
	Log *slog.Logger
	// MaxDataKeys bounds the opened data keys in memory; 0: 100,000.
	MaxDataKeys int
	// DataKeyLifetime is how long an opened data key is kept; 0: 15 minutes.
	DataKeyLifetime time.Duration
	// RewrapBatch bounds the data keys of one transaction of a re-wrap; 0: 500.
	// A re-wrap that yields to requests has fewer.
	RewrapBatch int32
	// RewrapParallel is the number of these transactions in parallel; 0: 4.
	RewrapParallel int
	// Rest sleeps between the transactions of a re-wrap that yields; nil: a timer.
	Rest func(context.Context, time.Duration)
}

// Custody holds the master keys that this process may use and the tenants' data
// keys opened with them.
//
// A master key is used only if the configured URI holds it, or if a chain of
// endorsements leads to it from such a key: write access to the database is not
// enough to introduce a master key. A data key's row names its master key, so
// no other is tried.
type Custody struct {
	cfg      Config
	dataKeys *otter.Cache[dataKeyName, *seal.DataKey]

	opening *semaphore.Weighted // held while a master key is opened, which may wait for a KMS; never with mu

	mu      sync.Mutex // never held while a KMS is asked: Authority is called under locks of PostgreSQL
	ring    *seal.Ring
	rows    map[uuid.UUID]db.MasterKey
	opened  map[uuid.UUID]*seal.MasterKey
	current uuid.UUID
	checked map[uuid.UUID]time.Time // when Check last saw it work

	authority *tenant.Authority // opened once
}

type dataKeyName struct {
	tenantID uuid.UUID
	version  int32
}

// Sealer is a tenant's opened current data key.
type Sealer struct {
	Version int32
	Key     *seal.DataKey
}

// New returns a Custody. Call Open before any other method.
func New(cfg Config) *Custody {
	if cfg.MaxDataKeys == 0 {
		cfg.MaxDataKeys = 100_000
	}
	if cfg.DataKeyLifetime == 0 {
		cfg.DataKeyLifetime = 15 * time.Minute
	}
	if cfg.RewrapBatch == 0 {
		cfg.RewrapBatch = 500
	}
	if cfg.RewrapParallel == 0 {
		cfg.RewrapParallel = 4
	}
	if cfg.Rest == nil {
		cfg.Rest = func(ctx context.Context, d time.Duration) { _ = db.Pause(ctx, d) }
	}
	return &Custody{
		cfg:     cfg,
		opening: semaphore.NewWeighted(1),
		opened:  make(map[uuid.UUID]*seal.MasterKey),
		dataKeys: otter.Must(&otter.Options[dataKeyName, *seal.DataKey]{
			MaximumSize:      cfg.MaxDataKeys,
			ExpiryCalculator: otter.ExpiryWriting[dataKeyName, *seal.DataKey](cfg.DataKeyLifetime),
		}),
	}
}

// Open opens the configured master key and checks that the database uses it; in
// a database without master keys it registers it as the first. Serve nothing
// before it succeeds. Errors: those of seal.Open, ErrWrongMasterKey,
// db.ErrUnavailable.
func (c *Custody) Open(ctx context.Context) error {
	ring, err := seal.Open(ctx, c.cfg.URI)
	if errors.Is(err, seal.ErrNoMasterKey) {
		return c.missingMasterKey(ctx, err)
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

// missingMasterKey returns ErrNoMasterKey for a database that was never used,
// and ErrWrongMasterKey for one whose master key is lost and cannot be replaced
// by a new one.
func (c *Custody) missingMasterKey(ctx context.Context, cause error) error {
	rows, err := c.masterRows(ctx)
	if err == nil && len(rows) > 0 {
		return fmt.Errorf("%w: this database already uses one; restore %s, a new one opens nothing",
			ErrWrongMasterKey, seal.Redact(c.cfg.URI))
	}
	return fmt.Errorf("%w: %w", ErrNoMasterKey, cause)
}

// Refresh reads which master key is current and opens it. Replicas call it when
// the platform's tenant changes and once a minute, so that a rotation needs no
// restart. Errors: ErrNoMasterKey, ErrWrongMasterKey, db.ErrUnavailable.
func (c *Custody) Refresh(ctx context.Context) error {
	rows, err := c.masterRows(ctx)
	if err != nil {
		return err
	}
	current := c.setRows(rows)
	if current.ID == uuid.Nil {
		return ErrNoMasterKey
	}
	m, err := c.openMaster(ctx, current.ID)
	if err != nil || c.Authority() != nil {
		return err
	}
	authority, err := openAuthority(ctx, m, current, c.cfg.Log)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authority == nil { // of two at once the first stays
		c.authority = authority
		c.cfg.DB.TrustRecoveries(authority.CheckRecovery)
	}
	return nil
}

// setRows replaces what is known of the master keys and returns the row of the current
// one, a zero row if there is none.
func (c *Custody) setRows(rows []db.MasterKey) (current db.MasterKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows = make(map[uuid.UUID]db.MasterKey, len(rows))
	for _, row := range rows {
		c.rows[row.ID] = row
		if row.IsCurrent {
			current = row
		}
	}
	c.current = current.ID
	return current
}

// Authority authenticates rows that confer authority; nil before Open has
// succeeded. Its key is the same under every master key, so that it is unwrapped once
// in the life of a process.
func (c *Custody) Authority() *tenant.Authority {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authority
}

// openAuthority unwraps the key that authenticates rows. Errors: tenant.ErrNoAuthority
// if the row of the master key has none that this master key wrapped.
func openAuthority(ctx context.Context, m *seal.MasterKey, row db.MasterKey, log *slog.Logger) (*tenant.Authority, error) {
	key, err := m.UnwrapAuthorityKey(ctx, row.ID, row.Authority)
	if errors.Is(err, seal.ErrCannotOpen) {
		return nil, fmt.Errorf("%w: that of %s was changed in the database", tenant.ErrNoAuthority, seal.Redact(row.URI))
	}
	if err != nil {
		return nil, asUnavailable(err)
	}
	defer key.Destroy()
	macKey, err := key.DeriveMACKey("keyward authority")
	if err != nil {
		return nil, err
	}
	return tenant.NewAuthority(macKey, log), nil
}

// checkedFor is how long a successful Check is cached: readiness is asked every
// second, and a KMS charges for each call.
const checkedFor = time.Minute

// Check checks that the current master key is usable, for readiness.
func (c *Custody) Check(ctx context.Context) error {
	c.mu.Lock()
	id := c.current
	row, at := c.rows[id], c.checked[id]
	c.mu.Unlock()
	if id == uuid.Nil {
		return ErrNoMasterKey
	}
	if !at.IsZero() && time.Since(at) < checkedFor {
		return nil
	}
	m, err := c.masterKey(ctx, id)
	if err != nil {
		return err
	}
	if err := m.VerifyKeyCheck(ctx, id, row.KeyCheck); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked = map[uuid.UUID]time.Time{id: time.Now()}
	return nil
}

func (c *Custody) masterRows(ctx context.Context) (rows []db.MasterKey, err error) {
	err = c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		rows, err = tx.ListMasterKeys(ctx)
		return err
	})
	return rows, err
}
