package moves

import (
	"context"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

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
	next := keys.NextTransition(l.at, s, k, all)
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
