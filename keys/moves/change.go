package moves

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

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
