package moves

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// Preview is what a rotation by hand would do if it were done now. Nothing has
// changed.
type Preview struct {
	Active           keys.Key  // the standby of today
	Deprecated       *keys.Key // the active key of today
	PublishedSeconds int64
	Timeline         []Milestone // in the order of time
	Before, After    []keys.Key  // what is published; the new standby's key is made only by the real thing
}

// Milestone is one thing that would happen to a key.
type Milestone struct {
	At   time.Time
	KID  string // empty for the new standby, which has no key yet
	From keys.State
	To   keys.State
}

// PreviewRotation answers what Rotate would do, and changes nothing. Errors:
// those of Rotate.
func (s *Store) PreviewRotation(ctx context.Context, by audit.By, tenantID uuid.UUID, req RotateRequest) (Preview, error) {
	l, err := s.imagine(ctx, by, tenantID)
	if err != nil {
		return Preview{}, err
	}
	return l.preview(req)
}

func (l *ledger) preview(req RotateRequest) (Preview, error) {
	p, err := l.policy(req.Alg)
	if err != nil {
		return Preview{}, err
	}
	s := l.schedule(p)
	out := Preview{Before: l.published()}
	if err := l.makeRoom(s); err != nil {
		return Preview{}, err
	}
	next := l.in(p.Alg, keys.Standby)
	if next == nil {
		return Preview{}, &keys.StateError{From: keys.Born, To: keys.Active}
	}
	out.PublishedSeconds = publishedSeconds(*next, l.at)
	if err := l.promote(s, byHand); err != nil {
		return Preview{}, err
	}
	l.conceive(p.Alg, keys.Standby)
	out.Active, out.After, out.Timeline = *l.in(p.Alg, keys.Active), l.published(), l.timeline(s)
	if i := slices.IndexFunc(l.moves, func(m move) bool { return m.State == keys.Deprecated }); i >= 0 {
		out.Deprecated = &l.moves[i].Key
	}
	return out, nil
}

// imagine opens a ledger that nobody writes: what its methods do to the keys
// stays in it. Dry runs are answered from what they did. Errors:
// tenant.ErrNotFound, ErrUnavailable.
func (s *Store) imagine(ctx context.Context, by audit.By, tenantID uuid.UUID) (*ledger, error) {
	ledgers, err := s.peek(ctx, by, s.now(), []uuid.UUID{tenantID})
	if err != nil {
		return nil, err
	}
	if len(ledgers) == 0 || ledgers[0].tenant.Status == tenant.Deleted {
		return nil, tenant.ErrNotFound
	}
	return ledgers[0], nil
}

// conceive puts a key in place that only the real thing would make: it has no
// kid and no public key.
func (l *ledger) conceive(alg jose.SignatureAlgorithm, state keys.State) {
	k := keys.Key{TenantID: l.tenant.ID, Alg: alg, Origin: keys.Generated, State: keys.Standby, CreatedAt: l.at, PublishedAt: l.at}
	l.note(audit.Event{ToState: string(keys.Standby)}, nil)
	if state == keys.Active {
		k.State, k.ActivatedAt = keys.Active, &l.at
		l.note(audit.Event{FromState: string(keys.Standby), ToState: string(keys.Active)}, nil)
	}
	l.keys = append(l.keys, k)
}

// catchUp takes the steps that the worker would take as soon as it hears.
func (l *ledger) catchUp(s keys.Schedule) error {
	steps, _ := keys.Plan(l.at, s, l.of(s.Alg))
	for _, step := range steps {
		if step.Kind == keys.CreateStandby {
			l.conceive(s.Alg, keys.Standby)
			continue
		}
		if err := l.take(step, s, candidate{}, custody.Sealer{}); err != nil {
			return err
		}
	}
	return nil
}

// published lists the keys of the JWKS as a tenant's verifiers would see it,
// but for those that were only conceived.
func (l *ledger) published() []keys.Key {
	out := slices.DeleteFunc(slices.Clone(l.keys), func(k keys.Key) bool { return !k.State.Published() || k.KID == "" })
	order := []keys.State{keys.Active, keys.Standby, keys.Deprecated}
	slices.SortStableFunc(out, func(a, b keys.Key) int {
		return slices.Index(order, a.State) - slices.Index(order, b.State)
	})
	return out
}

// timeline is what has just happened in this ledger, and what the schedule does
// next with each published key of the policy and with those that just left.
func (l *ledger) timeline(s keys.Schedule) []Milestone {
	var out []Milestone
	moved := map[string]bool{}
	for _, e := range l.events {
		if e.ToState != "" {
			out = append(out, Milestone{At: l.at, KID: e.KID, From: keys.State(e.FromState), To: keys.State(e.ToState)})
			moved[e.KID] = true
		}
	}
	all := l.of(s.Alg)
	for _, k := range all {
		if k.State.Published() || moved[k.KID] {
			out = append(out, l.future(s, k, all)...)
		}
	}
	slices.SortStableFunc(out, func(a, b Milestone) int { return a.At.Compare(b.At) })
	return out
}

// future is what becomes of one key if nobody acts.
func (l *ledger) future(s keys.Schedule, k keys.Key, all []keys.Key) []Milestone {
	next := s.NextTransition(l.at, k, all)
	if next == nil {
		return nil
	}
	at := keys.Later(*next, l.at)
	switch k.State {
	case keys.Standby:
		return []Milestone{{At: at, KID: k.KID, From: keys.Standby, To: keys.Active}}
	case keys.Active:
		return []Milestone{{At: at, KID: k.KID, From: keys.Active, To: keys.Deprecated}}
	case keys.Deprecated:
		return []Milestone{
			{At: at, KID: k.KID, From: keys.Deprecated, To: keys.Expired},
			{At: at.Add(s.PurgeAfter), KID: k.KID, From: keys.Expired, To: keys.Purged},
		}
	}
	return []Milestone{{At: at, KID: k.KID, From: k.State, To: keys.Purged}}
}

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
	until := keys.Later(k.Horizon(), l.tokensUntil(old))
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

// PreviewRevocation answers what Revoke would do, and changes nothing: the key
// as it would be, who would sign, and until when which verifiers would trust
// it. A key that only the real thing makes is missing. Errors: those of Revoke.
func (s *Store) PreviewRevocation(ctx context.Context, by audit.By, tenantID uuid.UUID, kid string, req RevokeRequest) (Revocation, error) {
	l, err := s.imagine(ctx, by, tenantID)
	if err != nil {
		return Revocation{}, err
	}
	out, _, err := l.condemn(kid, req)
	if errors.Is(err, errNotInLedger) {
		return Revocation{}, s.gone(ctx, tenantID, kid)
	}
	if err != nil {
		return Revocation{}, err
	}
	if k := l.in(out.Key.Alg, keys.Standby); k != nil && out.Mode == StandbyTakesOver {
		if err := l.activate(k, byRevocation); err != nil {
			return Revocation{}, err
		}
		active := l.entry(*k)
		out.Active = &active
	}
	return out, nil
}

// PreviewRevokeAll answers what RevokeAll would do, and changes nothing. The
// keys in place of the revoked ones are made only by the real thing. Errors:
// those of RevokeAll.
func (s *Store) PreviewRevokeAll(ctx context.Context, by audit.By, tenantID uuid.UUID, reason keys.Reason, comment string) (MassRevocation, error) {
	l, err := s.imagine(ctx, by, tenantID)
	if err != nil {
		return MassRevocation{}, err
	}
	return l.condemnAll(reason, comment)
}
