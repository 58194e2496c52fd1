package moves

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// Errors of the store; test with errors.Is. A [*keys.StateError] and a
// [*tenant.PolicyError] carry more.
var (
	ErrNotFound      = errors.New("keys: no such key")
	ErrDefaultPolicy = errors.New("keys: the default policy cannot be retired; make another one the default first")
	ErrUnavailable   = db.ErrUnavailable
)

// Config is what a Store needs.
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
	// Asked counts what is asked of this process. While it grows by more than a few
	// a second, RunDue makes way for requests; nil: always at full speed.
	Asked func() int64
	// DueBatch bounds the tenants of one transaction of RunDue; 0: 250.
	DueBatch int
	// DueParallel is how many of these go on at a time, each on a connection; 0: 2.
	DueParallel int
}

// Store is the only place where moves of keys commit. Every exported method
// that changes something is one transaction: it locks the tenant's row, reads,
// decides, and writes the moves with their audit events in one round trip. A
// crash before that leaves nothing, one after it leaves everything.
type Store struct {
	cfg     Config
	manners manners
	rest    func(context.Context, time.Duration)
}

// New returns a store.
func New(cfg Config) *Store {
	if cfg.DueBatch == 0 {
		cfg.DueBatch = 250
	}
	if cfg.DueParallel == 0 {
		cfg.DueParallel = 2
	}
	return &Store{cfg: cfg, manners: manners{now: time.Now, since: time.Now()}, rest: func(ctx context.Context, d time.Duration) { _ = db.Pause(ctx, d) }}
}

// now is read once per operation: every row one operation writes has one time.
func (s *Store) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// Get returns one key, purged ones too. Errors: ErrNotFound.
func (s *Store) Get(ctx context.Context, tenantID uuid.UUID, kid string) (keys.Key, error) {
	var row db.GetKeyRow
	err := s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		row, err = tx.GetKey(ctx, tenantID, kid)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return keys.Key{}, ErrNotFound
	}
	return snapshot.KeyRow(row).Key(), err
}

// open locks one tenant and reads its policies and keys. Errors:
// tenant.ErrNotFound for one that is not there or deleted.
func (s *Store) open(ctx context.Context, tx *db.Tx, by audit.By, tenantID uuid.UUID) (*ledger, error) {
	row, err := tx.LockTenant(ctx, tenantID)
	if errors.Is(err, db.ErrNoRows) || err == nil && row.Status == string(tenant.Deleted) {
		return nil, tenant.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	l := s.ledger(tenant.TenantRow(row), by, s.now()) // read under the lock: the operation before this one is over
	return l, s.read(ctx, tx, l)
}

// openIdle locks those of a batch's tenants that nobody else has in hand. What
// peek read of one is read again only if it has changed since: nothing that a
// plan is made from changes without the head of the tenant's history.
func (s *Store) openIdle(ctx context.Context, tx *db.Tx, by audit.By, w *work, tenantIDs []uuid.UUID) ([]*ledger, error) {
	rows, err := tx.LockIdleTenants(ctx, tenantIDs)
	if err != nil {
		return nil, err
	}
	ledgers := make([]*ledger, len(rows))
	var changed []*ledger
	for i, row := range rows {
		ledgers[i] = s.ledger(tenant.TenantRow(row), by, w.at)
		if !ledgers[i].resume(w.seen[row.ID]) {
			changed = append(changed, ledgers[i])
		}
	}
	return ledgers, s.read(ctx, tx, changed...)
}

// resume takes over what was read of a tenant without a lock, if nothing has
// happened to it since.
func (l *ledger) resume(seen *ledger) bool {
	if seen == nil || seen.head.Seq != l.head.Seq {
		return false
	}
	l.at, l.policies, l.keys = seen.at, seen.policies, slices.Clone(seen.keys)
	return true
}

// read fills ledgers with the policies and keys of their tenants.
func (s *Store) read(ctx context.Context, tx *db.Tx, ledgers ...*ledger) error {
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

func (l *ledger) addPolicyRow(row db.Policy) {
	l.policies = append(l.policies, tenant.PolicyRow(row).Policy())
}

// addKeyRow also sees to it that no move of this operation is before an earlier
// one, whatever the clocks of several machines say.
func (l *ledger) addKeyRow(row db.UnpurgedKeysOfTenantsRow) {
	k := snapshot.KeyRow(row).Key()
	l.keys = append(l.keys, k)
	l.at = keys.Later(l.at, k.LastMoved())
}

// write sends what the ledgers hold in one round trip and tells the other
// processes at commit.
func write(ctx context.Context, tx *db.Tx, ledgers ...*ledger) error {
	return writeBy(ctx, atOnce, tx, ledgers)
}

// writeBy is write with a choice of how to send.
func writeBy(ctx context.Context, send send, tx *db.Tx, ledgers []*ledger) error {
	w := tx.Later()
	if err := new(statements).collect(ledgers).queue(ctx, w); err != nil {
		return err
	}
	return send(w, ctx)
}

// schedule is what [keys.Plan] needs to know about one of the ledger's policies.
func (l *ledger) schedule(p tenant.Policy) keys.Schedule {
	s := keys.Schedule{
		Policy: p, ClockSkew: l.tenant.Caching.ClockSkew,
		Jitter: keys.Jitter(l.tenant.ID, p.Alg, p.RotationInterval, l.jitter), Freezes: l.tenant.Freezes,
	}
	if l.tenant.CacheHorizon != nil {
		s.HoldUntil = *l.tenant.CacheHorizon
	}
	return s
}

// policy finds a live policy by its algorithm; an empty one asks for the
// default.
func (l *ledger) policy(alg jose.SignatureAlgorithm) (tenant.Policy, error) {
	i := slices.IndexFunc(l.policies, func(p tenant.Policy) bool {
		return p.RetiredAt == nil && (p.Alg == alg || alg == "" && p.Default)
	})
	if i < 0 {
		return tenant.Policy{}, fmt.Errorf("%w: %s", keys.ErrPolicyNotFound, alg)
	}
	return l.policies[i], nil
}

// change is the frame of an operation by hand: lock the tenant and read it in
// one round trip, decide, and write in another.
func (s *Store) change(ctx context.Context, by audit.By, tenantID uuid.UUID, decide func(*ledger, *made) error) error {
	return s.locked(ctx, by, tenantID, func(tx *db.Tx, l *ledger, m *made) error {
		if err := decide(l, m); err != nil {
			return err
		}
		return write(ctx, tx, l)
	})
}

// locked runs an operation on a locked tenant. If that wants a key that takes
// long to make, it ends without a trace, and begins anew with the key at hand.
// Errors: do's, tenant.ErrNotFound for one that is not there or deleted.
func (s *Store) locked(ctx context.Context, by audit.By, tenantID uuid.UUID, do func(*db.Tx, *ledger, *made) error) error {
	m := &made{}
	for {
		m.rewind()
		err := s.cfg.DB.InLockedTenant(ctx, tenantID, func(tx *db.Tx, found db.Locked) error {
			l, err := s.openLocked(found, by)
			if err != nil {
				return err
			}
			s.expect(l)
			m.sealer = func() (custody.Sealer, error) { return s.cfg.Custody.SealerFrom(ctx, tenantID, found.DataKeys) }
			m.pick = func(p tenant.Policy) (candidate, error) { return s.quick(ctx, p) }
			return do(tx, l, m)
		})
		var slow *slowKeyError
		if !errors.As(err, &slow) {
			return err
		}
		c, err := s.candidate(ctx, slow.policy)
		if err != nil {
			return err
		}
		m.keep(slow.policy, c)
	}
}

// openLocked opens the ledger of a tenant that was locked and read at once.
func (s *Store) openLocked(found db.Locked, by audit.By) (*ledger, error) {
	if found.Tenant == nil || found.Tenant.Status == string(tenant.Deleted) {
		return nil, tenant.ErrNotFound
	}
	l := s.ledger(tenant.TenantRow(*found.Tenant), by, s.now()) // under the lock: the operation before this one is over
	for _, row := range found.Policies {
		l.addPolicyRow(row)
	}
	for _, row := range found.Keys {
		l.addKeyRow(row)
	}
	return l, nil
}

// expect lets the generator keep keys ready for what this process changes.
func (s *Store) expect(l *ledger) {
	for _, p := range l.live() {
		s.cfg.Generator.Expect(p.Alg, p.RSABits)
	}
}
