package moves

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
	"golang.org/x/sync/errgroup"
)

// retryAfter is how long a tenant is left alone whose work cannot be done:
// long enough not to crowd out the others, short enough to heal by itself.
const retryAfter = time.Minute

// policyName names one policy of one tenant.
type policyName struct {
	tenantID uuid.UUID
	alg      jose.SignatureAlgorithm
}

// work is a batch of tenants and what was made for it outside of locks.
type work struct {
	at         time.Time
	tenants    []uuid.UUID
	seen       map[uuid.UUID]*ledger // as they were then
	sealers    map[uuid.UUID]custody.Sealer
	candidates map[policyName]candidate
	making     time.Duration // of the candidates
	send       send
}

// prepare plans without locks and makes the keys that the plans want, on one core
// if it is to make way for requests.
func (s *Store) prepare(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID, way bool) (*work, error) {
	ledgers, err := s.peek(ctx, by, at, tenants)
	if err != nil {
		return nil, err
	}
	w := &work{at: at, tenants: tenants, seen: make(map[uuid.UUID]*ledger, len(ledgers)), candidates: map[policyName]candidate{}, send: atOnce}
	if way {
		w.send = oneByOne
	}
	for _, l := range ledgers {
		w.seen[l.tenant.ID] = l
	}
	if w.sealers, err = s.cfg.Custody.Sealers(ctx, tenants...); err != nil {
		return nil, err
	}
	began := time.Now()
	err = s.makeCandidates(ctx, w, ledgers, way)
	w.making = time.Since(began)
	return w, err
}

// makeCandidates makes the keys that the plans want: those of RSA on all cores
// unless it makes way, others, which take microseconds, on one. A process whose
// cores are all at work hears of a request only when the scheduler next looks,
// which takes milliseconds.
func (s *Store) makeCandidates(ctx context.Context, w *work, ledgers []*ledger, way bool) error {
	var (
		names    []policyName
		policies []tenant.Policy
	)
	for _, l := range ledgers {
		for _, p := range l.policies {
			if steps, _ := keys.Plan(l.at, l.schedule(p), l.of(p.Alg)); wantsKey(steps) {
				names, policies = append(names, policyName{l.tenant.ID, p.Alg}), append(policies, p)
			}
		}
	}
	made, errs := make([]candidate, len(names)), make([]error, len(names))
	var slow []int
	for i, p := range policies {
		if keys.KeyType(p.Alg) == "RSA" && !way {
			slow = append(slow, i)
			continue
		}
		made[i], errs[i] = s.candidate(ctx, p)
	}
	var cores errgroup.Group
	cores.SetLimit(runtime.GOMAXPROCS(0))
	for _, i := range slow {
		cores.Go(func() error {
			made[i], errs[i] = s.candidate(ctx, policies[i])
			return errs[i]
		})
	}
	_ = cores.Wait() // errs has them all
	for i, name := range names {
		w.candidates[name] = made[i]
	}
	return errors.Join(errs...)
}

// peek reads tenants without locking them.
func (s *Store) peek(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID) (ledgers []*ledger, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.GetTenants(ctx, tenants)
		if err != nil {
			return err
		}
		for _, row := range rows {
			ledgers = append(ledgers, s.ledger(tenant.TenantRow(row), by, at))
		}
		return s.read(ctx, tx, ledgers...)
	})
	return ledgers, err
}

func wantsKey(steps []keys.Step) bool {
	for _, step := range steps {
		if step.Kind == keys.CreateStandby {
			return true
		}
	}
	return false
}

// settle does the batch in one transaction. If the database refuses it, one
// tenant must be damaged: then each is done alone and the damaged one put off.
func (s *Store) settle(ctx context.Context, by audit.By, w *work, tenants []uuid.UUID) (done Done, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		ledgers, err := s.openIdle(ctx, tx, by, w, tenants)
		if err != nil {
			return err
		}
		for _, l := range ledgers {
			if err := s.follow(l, w, &done); err != nil {
				return err
			}
		}
		return writeBy(ctx, w.send, tx, ledgers)
	})
	switch {
	case err == nil:
		done.Tenants = len(tenants)
		return done, nil
	case errors.Is(err, ErrUnavailable) || ctx.Err() != nil:
		return Done{}, err
	case len(tenants) > 1:
		return s.settleEach(ctx, by, w)
	}
	s.cfg.Log.Error("tenant cannot be brought up to date", "tenant_id", tenants[0], "error", err)
	return Done{Tenants: 1, Failed: 1}, s.putOff(ctx, w.at, tenants[0])
}

func (s *Store) settleEach(ctx context.Context, by audit.By, w *work) (sum Done, err error) {
	for _, id := range w.tenants {
		done, err := s.settle(ctx, by, w, []uuid.UUID{id})
		if err != nil {
			return Done{}, err
		}
		sum.add(done)
	}
	return sum, nil
}

func (d *Done) add(o Done) {
	d.Tenants, d.Rotated, d.Created = d.Tenants+o.Tenants, d.Rotated+o.Rotated, d.Created+o.Created
	d.Expired, d.Purged, d.Failed = d.Expired+o.Expired, d.Purged+o.Purged, d.Failed+o.Failed
}

// putOff makes the worker look at a tenant again after a while.
func (s *Store) putOff(ctx context.Context, at time.Time, tenantID uuid.UUID) error {
	return s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		policies, err := tx.ListPolicies(ctx, tenantID)
		if err != nil {
			return err
		}
		var due dueParams
		for _, p := range policies {
			if p.DueAt != nil && !p.DueAt.After(at) {
				due.add(tenantID, p.Alg, at.Add(retryAfter))
			}
		}
		return tx.SetPoliciesDue(ctx, due.tenantIDs, due.algs, due.ats)
	})
}
