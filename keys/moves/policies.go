package moves

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// PutPolicy creates the policy of p.Alg, with an active and a standby key, or
// replaces it. Errors: *tenant.PolicyError, tenant.ErrNotFound, custody.ErrDataKey,
// ErrUnavailable.
func (s *Store) PutPolicy(ctx context.Context, by audit.By, tenantID uuid.UUID, p tenant.Policy) (_ tenant.Policy, created bool, err error) {
	err = s.locked(ctx, by, tenantID, func(tx *db.Tx, l *ledger, m *made) error {
		if err := p.Validate(l.tenant.Caching); err != nil {
			return err
		}
		old, err := l.policy(p.Alg)
		if created = errors.Is(err, keys.ErrPolicyNotFound); created {
			p, err = l.addPolicy(p, m)
		} else {
			p, err = l.replacePolicy(old, p)
		}
		if err != nil {
			return err
		}
		return l.writePolicy(ctx, tx, old, p)
	})
	return p, created, tenant.Refused(err)
}

// addPolicy brings in a new policy, or one that was retired before.
func (l *ledger) addPolicy(p tenant.Policy, m *made) (tenant.Policy, error) {
	p.CreatedAt, p.UpdatedAt, p.RetiredAt = l.at, l.at, nil
	l.setPolicy(p)
	l.note(audit.Event{Action: audit.PolicyCreated}, p.Details())
	for _, how := range []keys.Activation{byFirstKey, ""} {
		if _, err := m.enter(l, p.Alg, how); err != nil {
			return p, err
		}
	}
	return p, nil
}

// replacePolicy changes a policy that signs. The default moves by making
// another policy the default, never by leaving the tenant without one.
func (l *ledger) replacePolicy(old, p tenant.Policy) (tenant.Policy, error) {
	if old.Default && !p.Default {
		return p, &tenant.PolicyError{Fields: []tenant.FieldError{{
			Field: "default", Message: "must stay true; make another policy the default instead",
		}}}
	}
	p.CreatedAt, p.UpdatedAt = old.CreatedAt, l.at
	l.setPolicy(p)
	l.note(audit.Event{Action: audit.PolicyUpdated}, map[string]any{"before": old.Details(), "after": p.Details()})
	return p, nil
}

func (l *ledger) setPolicy(p tenant.Policy) {
	for i := range l.policies {
		if l.policies[i].Alg == p.Alg {
			l.policies[i] = p
			return
		}
	}
	l.policies = append(l.policies, p)
}

// writePolicy writes a policy and what follows from it: the default it takes
// away from another, and how long tokens of a longer lifetime may still live.
func (l *ledger) writePolicy(ctx context.Context, tx *db.Tx, old, p tenant.Policy) error {
	w := tx.Later()
	if p.Default {
		if err := l.takeDefault(ctx, w, p); err != nil {
			return err
		}
	}
	if old.MaxTokenTTL > p.MaxTokenTTL {
		if err := w.RaiseTokenHorizon(ctx, l.tokensUntil(old), l.tenant.ID, []string{string(p.Alg)}); err != nil {
			return err
		}
	}
	l.reschedule(p)
	if err := w.UpsertPolicy(ctx, l.upsert(p)); err != nil {
		return err
	}
	if err := new(statements).collect([]*ledger{l}).queue(ctx, w); err != nil {
		return err
	}
	return w.Send(ctx)
}

// tokensUntil is when the last token is over that was signed by a policy until
// now, here or by a replica that has not heard yet: it does not sign by a
// snapshot that is older than [keys.FreshFor].
func (l *ledger) tokensUntil(p tenant.Policy) time.Time {
	return l.at.Add(p.MaxTokenTTL + l.tenant.Caching.ClockSkew + keys.FreshFor)
}

func (l *ledger) takeDefault(ctx context.Context, w *db.Writes, p tenant.Policy) error {
	for _, other := range l.live() {
		if other.Default && other.Alg != p.Alg {
			l.note(audit.Event{Action: audit.PolicyUpdated}, map[string]any{
				"before": map[string]any{"alg": other.Alg, "default": true}, "after": map[string]any{"alg": other.Alg, "default": false},
			})
			other.Default = false
			l.setPolicy(other)
		}
	}
	return w.ClearDefaultPolicy(ctx, l.at, l.tenant.ID)
}

// RetirePolicy ends signing with an algorithm: its active key is deprecated,
// its standby revoked as superseded. What is published runs out by the
// policy's own times. Errors: keys.ErrPolicyNotFound, ErrDefaultPolicy,
// tenant.ErrNotFound, ErrUnavailable.
func (s *Store) RetirePolicy(ctx context.Context, by audit.By, tenantID uuid.UUID, alg jose.SignatureAlgorithm) error {
	return s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		l, err := s.open(ctx, tx, by, tenantID)
		if err != nil {
			return err
		}
		p, err := l.policy(alg)
		if err != nil {
			return err
		}
		if p.Default {
			return ErrDefaultPolicy
		}
		if err := l.retire(p); err != nil {
			return err
		}
		w := tx.Later()
		if err := new(statements).collect([]*ledger{l}).queue(ctx, w); err != nil {
			return err
		}
		if _, err := w.RetirePolicies(ctx, &l.at, tenantID, []string{string(alg)}); err != nil {
			return err
		}
		return w.Send(ctx)
	})
}

func (l *ledger) retire(p tenant.Policy) error {
	s := l.schedule(p)
	if k := l.in(p.Alg, keys.Active); k != nil {
		if err := l.deprecate(k, s); err != nil {
			return err
		}
	}
	if k := l.in(p.Alg, keys.Standby); k != nil {
		if err := l.revoke(k, keys.Superseded, "the policy was retired"); err != nil {
			return err
		}
	}
	l.note(audit.Event{Action: audit.PolicyRetired}, map[string]any{"alg": p.Alg})
	p.RetiredAt = &l.at
	l.setPolicy(p)
	l.reschedule(p)
	return nil
}
