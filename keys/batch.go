package keys

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
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
	sealers    map[uuid.UUID]sealer
	candidates map[policyName]candidate
}

// prepare plans without locks and makes the keys that the plans want.
func (s *Store) prepare(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID) (*work, error) {
	ledgers, err := s.peek(ctx, by, at, tenants)
	if err != nil {
		return nil, err
	}
	w := &work{at: at, tenants: tenants, candidates: map[policyName]candidate{}}
	if w.sealers, err = s.cfg.Custody.sealers(ctx, tenants...); err != nil {
		return nil, err
	}
	for _, l := range ledgers {
		for _, p := range l.policies {
			if steps, _ := Plan(at, l.schedule(p), l.of(p.Alg)); !wantsKey(steps) {
				continue
			}
			c, err := s.candidate(ctx, p)
			if err != nil {
				return nil, err
			}
			w.candidates[policyName{l.tenant.ID, p.Alg}] = c
		}
	}
	return w, nil
}

// peek reads tenants without locking them.
func (s *Store) peek(ctx context.Context, by audit.By, at time.Time, tenants []uuid.UUID) (ledgers []*ledger, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.GetTenants(ctx, tenants)
		if err != nil {
			return err
		}
		for _, row := range rows {
			ledgers = append(ledgers, s.ledger(row, by, at))
		}
		return s.read(ctx, tx, ledgers...)
	})
	return ledgers, err
}

func wantsKey(steps []Step) bool {
	for _, step := range steps {
		if step.Kind == CreateStandby {
			return true
		}
	}
	return false
}

// settle does the batch in one transaction. If the database refuses it, one
// tenant must be damaged: then each is done alone and the damaged one put off.
func (s *Store) settle(ctx context.Context, by audit.By, w *work, tenants []uuid.UUID) (done Done, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		ledgers, err := s.openIdle(ctx, tx, by, w.at, tenants)
		if err != nil {
			return err
		}
		for _, l := range ledgers {
			if err := s.follow(l, w, &done); err != nil {
				return err
			}
		}
		return write(ctx, tx, ledgers...)
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

// follow takes the steps of every plan of one tenant.
func (s *Store) follow(l *ledger, w *work, done *Done) error {
	for _, p := range l.policies {
		schedule := l.schedule(p)
		steps, _ := Plan(l.at, schedule, l.of(p.Alg))
		c, made := w.candidates[policyName{l.tenant.ID, p.Alg}]
		sealer, sealed := w.sealers[l.tenant.ID]
		if wantsKey(steps) && !(made && sealed) {
			// Somebody changed the tenant since it was planned, or its data key
			// does not open. Neither is a reason to sign with what may not work.
			l.due[p.Alg] = l.at.Add(retryAfter)
			if sealed {
				l.due[p.Alg] = l.at
			}
			continue
		}
		for _, step := range steps {
			if err := l.take(step, schedule, c, sealer); err != nil {
				return err
			}
			done.count(step)
		}
		l.reschedule(p)
	}
	return nil
}

func (l *ledger) take(step Step, s Schedule, c candidate, sealer sealer) error {
	switch step.Kind {
	case Expire:
		return l.expire(l.find(step.KID))
	case Purge:
		return l.purge(l.find(step.KID))
	case Promote:
		return l.promote(s, Scheduled)
	case CreateStandby:
		_, err := l.enter(c, sealer, "")
		return err
	}
	return errors.New("keys: unknown step " + string(step.Kind))
}

// promote lets the standby take over from the active key.
func (l *ledger) promote(s Schedule, how Activation) error {
	if active := l.in(s.Alg, Active); active != nil {
		if err := l.deprecate(active, s); err != nil {
			return err
		}
	}
	return l.activate(l.in(s.Alg, Standby), how)
}

func (d *Done) count(step Step) {
	switch step.Kind {
	case Expire:
		d.Expired++
	case Purge:
		d.Purged++
	case Promote:
		d.Rotated++
	case CreateStandby:
		d.Created++
	}
}

// live are the ledger's policies that sign.
func (l *ledger) live() (out []tenant.Policy) {
	for _, p := range l.policies {
		if p.RetiredAt == nil {
			out = append(out, p)
		}
	}
	return out
}
