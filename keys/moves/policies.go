package moves

import (
	"context"
	"errors"
	"slices"
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
	err = s.withLockedTenant(ctx, by, tenantID, func(tx *db.Tx, l *ledger, m *keySupply) error {
		if err := p.Validate(l.tenant.Caching); err != nil {
			return err
		}
		old, err := l.findPolicy(p.Alg)
		if created = errors.Is(err, keys.ErrPolicyNotFound); created {
			if err := errors.Join(s.checkKeys(ctx, tx, l, 2), m.admit(p, 2)); err != nil {
				return err
			}
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

// addPolicy adds a new policy, or restores a retired one.
func (l *ledger) addPolicy(p tenant.Policy, m *keySupply) (tenant.Policy, error) {
	p.CreatedAt, p.UpdatedAt, p.RetiredAt = l.at, l.at, nil
	for _, retired := range l.policies {
		if retired.Alg == p.Alg {
			l.addPolicyEffects(retired, p)
		}
	}
	l.setPolicy(p)
	l.addEvent(audit.Event{Action: audit.PolicyCreated}, p.Details())
	for _, how := range []keys.Activation{byFirstKey, ""} {
		if _, err := m.addKey(l, p.Alg, how); err != nil {
			return p, err
		}
	}
	return p, nil
}

// replacePolicy changes a live policy. The default moves by making another policy the
// default, so that a tenant always has one.
func (l *ledger) replacePolicy(old, p tenant.Policy) (tenant.Policy, error) {
	if old.Default && !p.Default {
		return p, &tenant.PolicyError{Fields: []tenant.FieldError{{
			Field: "default", Message: "must stay true; make another policy the default instead",
		}}}
	}
	p.CreatedAt, p.UpdatedAt = old.CreatedAt, l.at
	l.addPolicyEffects(old, p)
	l.setPolicy(p)
	l.addEvent(audit.Event{Action: audit.PolicyUpdated}, map[string]any{"before": old.Details(), "after": p.Details()})
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

// writePolicy writes a policy and its effects: it clears the previous default, and
// raises the token horizon if tokens with a longer lifetime may still be valid.
func (l *ledger) writePolicy(ctx context.Context, tx *db.Tx, old, p tenant.Policy) error {
	w := tx.Later()
	if p.Default {
		if err := l.clearOtherDefault(ctx, w, p); err != nil {
			return err
		}
	}
	if old.MaxTokenTTL > p.MaxTokenTTL {
		if err := w.RaiseTokenHorizon(ctx, l.scheduleOf(old).TokenHorizon(l.at), l.tenant.ID, []string{string(p.Alg)}); err != nil {
			return err
		}
	}
	l.reschedule(p)
	if err := w.UpsertPolicy(ctx, l.policyParams(p)); err != nil {
		return err
	}
	if err := new(statements).addLedgers([]*ledger{l}).queueTo(ctx, w); err != nil {
		return err
	}
	return w.Send(ctx)
}

func (l *ledger) clearOtherDefault(ctx context.Context, w *db.Writes, p tenant.Policy) error {
	for _, other := range l.livePolicies() {
		if other.Default && other.Alg != p.Alg {
			l.addEvent(audit.Event{Action: audit.PolicyUpdated}, map[string]any{
				"before": map[string]any{"alg": other.Alg, "default": true}, "after": map[string]any{"alg": other.Alg, "default": false},
			})
			other.Default, other.UpdatedAt = false, l.at
			l.setPolicy(other)
			if err := w.ClearDefaultPolicy(ctx, db.ClearDefaultPolicyParams{UpdatedAt: l.at, MAC: l.policyMAC(other), TenantID: l.tenant.ID, Alg: string(other.Alg)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// RetirePolicy ends signing with an algorithm: its active key is deprecated, its standby
// revoked as superseded. Published keys expire at the policy's own times. Errors:
// keys.ErrPolicyNotFound, ErrDefaultPolicy, tenant.ErrNotFound, ErrUnavailable.
func (s *Store) RetirePolicy(ctx context.Context, by audit.By, tenantID uuid.UUID, alg jose.SignatureAlgorithm) error {
	return s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		l, err := s.lockTenant(ctx, tx, by, tenantID)
		if err != nil {
			return err
		}
		p, err := l.findPolicy(alg)
		if err != nil {
			return err
		}
		if p.Default {
			return ErrDefaultPolicy
		}
		if err := l.retirePolicy(p); err != nil {
			return err
		}
		w := tx.Later()
		if err := new(statements).addLedgers([]*ledger{l}).queueTo(ctx, w); err != nil {
			return err
		}
		if err := l.queueRetirements(ctx, w, alg); err != nil {
			return err
		}
		return w.Send(ctx)
	})
}

func (l *ledger) retirePolicy(p tenant.Policy) error {
	s := l.scheduleOf(p)
	if k := l.keyInState(p.Alg, keys.Active); k != nil {
		if err := l.deprecate(k, s); err != nil {
			return err
		}
	}
	if k := l.keyInState(p.Alg, keys.Standby); k != nil {
		if err := l.revoke(k, keys.Superseded, "the policy was retired"); err != nil {
			return err
		}
	}
	l.addEvent(audit.Event{Action: audit.PolicyRetired}, map[string]any{"alg": p.Alg})
	p.RetiredAt, p.UpdatedAt = &l.at, l.at
	l.setPolicy(p)
	l.reschedule(p)
	return nil
}

// queueRetirements queues the statement that retires policies which the ledger has
// retired.
func (l *ledger) queueRetirements(ctx context.Context, w *db.Writes, algs ...jose.SignatureAlgorithm) error {
	params := db.RetirePoliciesParams{RetiredAt: &l.at, TenantID: l.tenant.ID}
	for _, p := range l.policies {
		if slices.Contains(algs, p.Alg) {
			params.Algs, params.Codes = append(params.Algs, string(p.Alg)), append(params.Codes, l.policyMAC(p))
		}
	}
	_, err := w.RetirePolicies(ctx, params)
	return err
}

// policyMAC returns the code of a policy as the ledger has it.
func (l *ledger) policyMAC(p tenant.Policy) []byte {
	return l.believer.PolicyMAC(tenant.PolicyRowOf(l.tenant.ID, p))
}

// PreviewPolicy returns the result that PutPolicy would have, without changing anything.
// Errors: those of PutPolicy.
func (s *Store) PreviewPolicy(ctx context.Context, by audit.By, tenantID uuid.UUID, p tenant.Policy) (PolicyPreview, error) {
	l, err := s.openPreview(ctx, by, tenantID)
	if err != nil {
		return PolicyPreview{}, err
	}
	if err := p.Validate(l.tenant.Caching); err != nil {
		return PolicyPreview{}, err
	}
	out := PolicyPreview{Before: l.publishedKeys()}
	old, err := l.findPolicy(p.Alg)
	if out.Created = errors.Is(err, keys.ErrPolicyNotFound); out.Created {
		p = l.addPlaceholderPolicy(p)
	} else if p, err = l.replacePolicy(old, p); err != nil {
		return PolicyPreview{}, err
	}
	l.raiseTokenHorizon(old, p)
	if err := l.applyDueSteps(l.scheduleOf(p)); err != nil {
		return PolicyPreview{}, err
	}
	out.Policy, out.After, out.Timeline = p, l.publishedKeys(), l.buildTimeline(l.scheduleOf(p))
	return out, nil
}

// PreviewRetirement returns the result that RetirePolicy would have, without changing
// anything. Errors: those of RetirePolicy.
func (s *Store) PreviewRetirement(ctx context.Context, by audit.By, tenantID uuid.UUID, alg jose.SignatureAlgorithm) (PolicyPreview, error) {
	l, err := s.openPreview(ctx, by, tenantID)
	if err != nil {
		return PolicyPreview{}, err
	}
	p, err := l.findPolicy(alg)
	if err != nil {
		return PolicyPreview{}, err
	}
	if p.Default {
		return PolicyPreview{}, ErrDefaultPolicy
	}
	out := PolicyPreview{Before: l.publishedKeys()}
	if err := l.retirePolicy(p); err != nil {
		return PolicyPreview{}, err
	}
	p.RetiredAt = &l.at
	out.Policy, out.After, out.Timeline = p, l.publishedKeys(), l.buildTimeline(l.scheduleOf(p))
	return out, nil
}

// policyParams returns the row of one of the ledger's policies.
func (l *ledger) policyParams(p tenant.Policy) db.UpsertPolicyParams {
	row := tenant.PolicyRowOf(l.tenant.ID, p)
	var due *time.Time
	if at, set := l.due[p.Alg]; set && !at.IsZero() {
		due = &at
	}
	return db.UpsertPolicyParams{
		TenantID: row.TenantID, Alg: row.Alg, IsDefault: row.IsDefault, RSABits: row.RSABits,
		RotationIntervalSeconds: row.RotationIntervalSeconds, PublishLeadSeconds: row.PublishLeadSeconds,
		GracePeriodSeconds: row.GracePeriodSeconds, PurgeAfterSeconds: row.PurgeAfterSeconds,
		DefaultTokenTTLSeconds: row.DefaultTokenTTLSeconds, MaxTokenTTLSeconds: row.MaxTokenTTLSeconds,
		MaxPublishedKeys: row.MaxPublishedKeys, MinAdoption: row.MinAdoption, MaxAdoptionWaitSeconds: row.MaxAdoptionWaitSeconds, DueAt: due, UpdatedAt: l.at, MAC: l.believer.PolicyMAC(row),
	}
}
