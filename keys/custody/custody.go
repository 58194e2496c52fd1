package custody

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
	// ErrDataKey means that a tenant's data key does not open: its private
	// keys cannot be read and no new ones can be sealed.
	ErrDataKey = errors.New("keys: the tenant's data key cannot be opened")
)

// Config says where the master key is and how long what it opened is
// kept in memory.
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
	// One that makes way for requests has fewer.
	RewrapBatch int32
	// RewrapParallel is how many of these go on at a time; 0: 4.
	RewrapParallel int
	// Rest waits between the transactions of a re-wrap that makes way; nil: by a
	// timer.
	Rest func(context.Context, time.Duration)
}

// Custody holds the master keys this process may use and the tenants' data
// keys it has opened with them.
//
// A master key is used only if the configured URI holds it, or if it descends
// from one that does by a chain of endorsements: who can write the database
// but holds no master key cannot bring one in. What a data key is wrapped by
// is in its row, so nothing is ever tried.
type Custody struct {
	cfg      Config
	dataKeys *otter.Cache[dataKeyName, *seal.DataKey]

	mu      sync.Mutex
	ring    *seal.Ring
	rows    map[uuid.UUID]db.MasterKey
	opened  map[uuid.UUID]*seal.MasterKey
	current uuid.UUID
	checked map[uuid.UUID]time.Time // when Check last saw it work
}

type dataKeyName struct {
	tenantID uuid.UUID
	version  int32
}

// Sealer is a tenant's current data key, opened.
type Sealer struct {
	Version int32
	Key     *seal.DataKey
}

// New prepares custody; nothing is opened before Open.
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
// ErrWrongMasterKey, moves.ErrUnavailable.
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

// checkedFor is how long Check trusts its last good answer: it is asked every
// second, and a KMS charges for each call.
const checkedFor = time.Minute

// Check reports whether the current master key is usable, for readiness.
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
