package moves

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// Errors of the store; test with errors.Is. A [*keys.StateError] and a
// [*tenant.PolicyError] carry more.
var (
	ErrNotFound      = errors.New("keys: no such key")
	ErrDefaultPolicy = errors.New("keys: the default policy cannot be retired; make another one the default first")
	ErrUnavailable   = db.ErrUnavailable
)

// Config configures a [Store].
type Config struct {
	DB        *db.DB
	Names     tenant.Namespace // of the issuers and hosts of new tenants
	Custody   *custody.Custody
	Generator *Generator
	Now       func() time.Time
	Log       *slog.Logger
	// JitterFraction of the rotation interval is the most by which a scheduled
	// rotation is delayed, so that tenants created together do not rotate
	// together; 0: exact timelines.
	JitterFraction float64
	// DefaultPolicy is the policy of tenants created without one; nil: ES256 with the
	// durations of [tenant.DefaultPolicy].
	DefaultPolicy *tenant.Policy
	// Requests counts the requests to this process. While it grows by more than a
	// few a second, RunDue yields to requests; nil: always at full speed.
	Requests func() int64
	// DueBatch bounds the tenants of one transaction of RunDue; 0: 250.
	DueBatch int
	// DueParallel is how many of these run at a time, each on a connection; 0: 2.
	DueParallel int
	// MaxKeys bounds the keys of a tenant that are not purged, for imports, rotations
	// by hand and new policies; 0: 10,000.
	MaxKeys int
}

// Store commits all transitions of keys. Every exported method that changes something is
// one transaction: it locks the tenant's row, reads, decides, and writes the transitions
// with their audit events in one round trip. A crash leaves either nothing or
// everything.
type Store struct {
	waitingLogged onceSet // standby keys whose wait for verifiers was logged
	cfg           Config
	throttle      throttle
	pause         func(context.Context, time.Duration)
}

// New returns a store.
func New(cfg Config) *Store {
	if cfg.DueBatch == 0 {
		cfg.DueBatch = 250
	}
	if cfg.DueParallel == 0 {
		cfg.DueParallel = 2
	}
	if cfg.MaxKeys == 0 {
		cfg.MaxKeys = 10_000
	}
	return &Store{cfg: cfg, throttle: throttle{now: time.Now, since: time.Now()}, pause: func(ctx context.Context, d time.Duration) { _ = db.Pause(ctx, d) }}
}

// currentTime is called once per operation, so that all its rows have the same time.
func (s *Store) currentTime() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// newLedger returns the ledger of a tenant that is locked or only read. now was read
// after that, by this attempt of the transaction.
func (s *Store) newLedger(row tenant.TenantRow, by audit.By, now time.Time) *ledger {
	a := s.cfg.Custody.Authority()
	return &ledger{
		tenant: row.Tenant(), head: row.Head(), jitter: s.cfg.JitterFraction, believer: a, refused: a.CheckTenant(row),
		by: by, at: row.TimeOfEffect(now), due: map[jose.SignatureAlgorithm]time.Time{},
	}
}

// lockTenant locks one tenant and reads its policies and keys. Errors:
// tenant.ErrNotFound if it does not exist or is deleted, tenant.ErrForged.
func (s *Store) lockTenant(ctx context.Context, tx *db.Tx, by audit.By, tenantID uuid.UUID) (*ledger, error) {
	row, err := tx.LockTenant(ctx, tenantID)
	if errors.Is(err, db.ErrNoRows) || err == nil && row.Status == string(tenant.Deleted) {
		return nil, tenant.ErrNotFound
	}
	if err == nil {
		err = tx.CheckClock() // before anything is decided, or refused, by a wrong time
	}
	if err != nil {
		return nil, err
	}
	l := s.newLedger(tenant.TenantRow(row), by, s.currentTime()) // read the time under the lock, after the previous operation
	if err := s.loadLedgers(ctx, tx, l); err != nil {
		return nil, err
	}
	return l, l.refused
}

// lockIdleTenants locks the tenants of a batch that no other transaction has locked. A
// tenant is read again only if it has changed since readTenants: a plan depends on
// nothing that can change without a new audit event.
func (s *Store) lockIdleTenants(ctx context.Context, tx *db.Tx, by audit.By, w *batch, tenantIDs []uuid.UUID) ([]*ledger, error) {
	rows, err := tx.LockIdleTenants(ctx, tenantIDs)
	if err != nil {
		return nil, err
	}
	at := s.currentTime() // under the locks: making keys and waiting for others may have taken minutes
	ledgers := make([]*ledger, len(rows))
	var changed []*ledger
	for i, row := range rows {
		ledgers[i] = s.newLedger(tenant.TenantRow(row), by, at)
		ledgers[i].adoption = w.adoption[row.ID]
		if !ledgers[i].reuseRead(w.ledgers[row.ID]) {
			changed = append(changed, ledgers[i])
		}
	}
	if len(changed) == 0 {
		return ledgers, nil
	}
	if err := s.loadLedgers(ctx, tx, changed...); err != nil {
		return nil, err
	}
	return ledgers, loadAdoption(ctx, tx, at, changed)
}

// loadAdoption reads the adoption of locked tenants again that have changed since it was
// read: another leader may have recorded that a rotation waits.
func loadAdoption(ctx context.Context, tx *db.Tx, at time.Time, ledgers []*ledger) error {
	ids := make([]uuid.UUID, len(ledgers))
	for i, l := range ledgers {
		ids[i] = l.tenant.ID
	}
	shares, err := readAdoption(ctx, tx, at, ids)
	for _, l := range ledgers {
		l.adoption = shares[l.tenant.ID]
	}
	return err
}

// loadLedgers reads the policies and keys of the ledgers' tenants.
func (s *Store) loadLedgers(ctx context.Context, tx *db.Tx, ledgers ...*ledger) error {
	if len(ledgers) == 0 {
		return nil
	}
	byID := make(map[uuid.UUID]*ledger, len(ledgers))
	ids := make([]uuid.UUID, len(ledgers))
	for i, l := range ledgers {
		byID[l.tenant.ID], ids[i] = l, l.tenant.ID
	}
	policies, err := tx.ListPoliciesOfTenants(ctx, ids)
	if err != nil {
		return err
	}
	for _, row := range policies {
		byID[row.TenantID].addPolicyRow(row)
	}
	rows, err := tx.UnpurgedKeysOfTenants(ctx, ids)
	if err != nil {
		return err
	}
	for _, row := range rows {
		byID[row.TenantID].addKeyRow(row)
	}
	return nil
}

// changeTenant locks the tenant and reads it in one round trip, calls decide, and writes
// in another.
func (s *Store) changeTenant(ctx context.Context, by audit.By, tenantID uuid.UUID, decide func(*ledger, *keySupply) error) error {
	return s.withLockedTenant(ctx, by, tenantID, func(tx *db.Tx, l *ledger, m *keySupply) error {
		if err := decide(l, m); err != nil {
			return err
		}
		return writeLedgers(ctx, tx, l)
	})
}

// withLockedTenant calls do with a locked tenant. If do needs a key that takes long to
// generate, or a data key that is not open, the transaction is rolled back and repeated
// with the key at hand: nobody waits for a KMS while holding a lock. Errors:
// those of do, tenant.ErrNotFound for a tenant that does not exist or is deleted.
func (s *Store) withLockedTenant(ctx context.Context, by audit.By, tenantID uuid.UUID, do func(*db.Tx, *ledger, *keySupply) error) error {
	m := &keySupply{}
	for {
		m.restart()
		err := s.cfg.DB.InLockedTenant(ctx, tenantID, func(tx *db.Tx, locked db.Locked) error {
			if err := tx.CheckClock(); err != nil { // as in lockTenant
				return err
			}
			l, err := s.lockedLedger(locked, by)
			if err != nil {
				return err
			}
			s.expectKeys(l)
			m.sealer = func() (custody.Sealer, error) { return m.sealerOf(s.cfg.Custody, locked.DataKeys) }
			m.generate = func(p tenant.Policy) (candidate, error) { return s.cfg.Generator.quickCandidate(ctx, tenantID, p) }
			m.wait = func(p tenant.Policy, n int) time.Duration { return s.cfg.Generator.Wait(tenantID, p.Alg, n) }
			return do(tx, l, m)
		})
		var closed *dataKeyClosedError
		if errors.As(err, &closed) {
			if err := m.open(ctx, s.cfg.Custody, closed.rows); err != nil {
				return err
			}
			continue
		}
		var slow *keyNotReadyError
		if !errors.As(err, &slow) {
			return err
		}
		c, err := s.cfg.Generator.newCandidate(ctx, tenantID, slow.policy)
		if err != nil {
			return err
		}
		m.add(slow.policy, c)
	}
}

// lockedLedger returns the ledger of a tenant that was locked and read in one round
// trip.
func (s *Store) lockedLedger(locked db.Locked, by audit.By) (*ledger, error) {
	if locked.Tenant == nil || locked.Tenant.Status == string(tenant.Deleted) {
		return nil, tenant.ErrNotFound
	}
	l := s.newLedger(tenant.TenantRow(*locked.Tenant), by, s.currentTime()) // read the time under the lock, after the previous operation
	for _, row := range locked.Policies {
		l.addPolicyRow(row)
	}
	for _, row := range locked.Keys {
		l.addKeyRow(row)
	}
	return l, l.refused
}

// expectKeys lets the generator keep keys ready for the tenants that this process
// changes.
func (s *Store) expectKeys(l *ledger) {
	for _, p := range l.livePolicies() {
		s.cfg.Generator.Expect(p.Alg, p.RSABits)
	}
}

// readTenants reads tenants without locking them.
func (s *Store) readTenants(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID) (ledgers []*ledger, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.GetTenants(ctx, tenants)
		if err != nil {
			return err
		}
		ledgers = nil // the transaction may run twice
		for _, row := range rows {
			ledgers = append(ledgers, s.newLedger(tenant.TenantRow(row), by, at))
		}
		return s.loadLedgers(ctx, tx, ledgers...)
	})
	return ledgers, err
}

// openPreview returns a ledger that is never written, for dry runs: its changes stay in
// memory. Errors: tenant.ErrNotFound, ErrUnavailable.
func (s *Store) openPreview(ctx context.Context, by audit.By, tenantID uuid.UUID) (*ledger, error) {
	ledgers, err := s.readTenants(ctx, by, s.currentTime(), []uuid.UUID{tenantID})
	if err != nil {
		return nil, err
	}
	if len(ledgers) == 0 || ledgers[0].tenant.Status == tenant.Deleted {
		return nil, tenant.ErrNotFound
	}
	return ledgers[0], ledgers[0].refused
}
