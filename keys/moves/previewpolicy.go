package moves

import (
	"context"
	"errors"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// PolicyPreview is what storing or retiring a policy would do if it were done
// now. Nothing has changed.
type PolicyPreview struct {
	Policy        tenant.Policy
	Created       bool        // there is no such policy yet
	Timeline      []Milestone // in the order of time
	Before, After []keys.Key  // what is published; new keys are made only by the real thing
}

// PreviewPolicy answers what PutPolicy would do, and changes nothing. Errors:
// those of PutPolicy.
func (s *Store) PreviewPolicy(ctx context.Context, by audit.By, tenantID uuid.UUID, p tenant.Policy) (PolicyPreview, error) {
	l, err := s.imagine(ctx, by, tenantID)
	if err != nil {
		return PolicyPreview{}, err
	}
	if err := p.Validate(l.tenant.Caching); err != nil {
		return PolicyPreview{}, err
	}
	out := PolicyPreview{Before: l.published()}
	old, err := l.policy(p.Alg)
	if out.Created = errors.Is(err, keys.ErrPolicyNotFound); out.Created {
		p = l.conceivePolicy(p)
	} else if p, err = l.replacePolicy(old, p); err != nil {
		return PolicyPreview{}, err
	}
	l.hold(old, p)
	if err := l.catchUp(l.schedule(p)); err != nil {
		return PolicyPreview{}, err
	}
	out.Policy, out.After, out.Timeline = p, l.published(), l.timeline(l.schedule(p))
	return out, nil
}

// conceivePolicy is addPolicy without keys to add.
func (l *ledger) conceivePolicy(p tenant.Policy) tenant.Policy {
	p.CreatedAt, p.UpdatedAt, p.RetiredAt = l.at, l.at, nil
	l.setPolicy(p)
	l.conceive(p.Alg, keys.Active)
	l.conceive(p.Alg, keys.Standby)
	return p
}

// hold does to the ledger's active key what RaiseTokenHorizon does to its row.
func (l *ledger) hold(old, p tenant.Policy) {
	k := l.in(p.Alg, keys.Active)
	if k == nil || old.MaxTokenTTL <= p.MaxTokenTTL {
		return
	}
	until := keys.Later(keys.Horizon(*k), l.tokensUntil(old))
	k.TokenHorizon = &until
}

// PreviewRetirement answers what RetirePolicy would do, and changes nothing.
// Errors: those of RetirePolicy.
func (s *Store) PreviewRetirement(ctx context.Context, by audit.By, tenantID uuid.UUID, alg jose.SignatureAlgorithm) (PolicyPreview, error) {
	l, err := s.imagine(ctx, by, tenantID)
	if err != nil {
		return PolicyPreview{}, err
	}
	p, err := l.policy(alg)
	if err != nil {
		return PolicyPreview{}, err
	}
	if p.Default {
		return PolicyPreview{}, ErrDefaultPolicy
	}
	out := PolicyPreview{Before: l.published()}
	if err := l.retire(p); err != nil {
		return PolicyPreview{}, err
	}
	p.RetiredAt = &l.at
	out.Policy, out.After, out.Timeline = p, l.published(), l.timeline(l.schedule(p))
	return out, nil
}
