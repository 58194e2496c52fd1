package keys

import (
	"context"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
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
func (l *ledger) conceive(alg jose.SignatureAlgorithm, state State) {
	k := Key{TenantID: l.tenant.ID, Alg: alg, Origin: Generated, State: Standby, CreatedAt: l.at, PublishedAt: l.at}
	l.note(audit.Event{ToState: string(Standby)}, nil)
	if state == Active {
		k.State, k.ActivatedAt = Active, &l.at
		l.note(audit.Event{FromState: string(Standby), ToState: string(Active)}, nil)
	}
	l.keys = append(l.keys, k)
}

// catchUp takes the steps that the worker would take as soon as it hears.
func (l *ledger) catchUp(s Schedule) error {
	steps, _ := Plan(l.at, s, l.of(s.Alg))
	for _, step := range steps {
		if step.Kind == CreateStandby {
			l.conceive(s.Alg, Standby)
			continue
		}
		if err := l.take(step, s, candidate{}, sealer{}); err != nil {
			return err
		}
	}
	return nil
}

// published lists the keys of the JWKS as a tenant's verifiers would see it,
// but for those that were only conceived.
func (l *ledger) published() []Key {
	out := slices.DeleteFunc(slices.Clone(l.keys), func(k Key) bool { return !k.State.Published() || k.KID == "" })
	order := []State{Active, Standby, Deprecated}
	slices.SortStableFunc(out, func(a, b Key) int {
		return slices.Index(order, a.State) - slices.Index(order, b.State)
	})
	return out
}

// timeline is what has just happened in this ledger, and what the schedule does
// next with each published key of the policy and with those that just left.
func (l *ledger) timeline(s Schedule) []Milestone {
	var out []Milestone
	moved := map[string]bool{}
	for _, e := range l.events {
		if e.ToState != "" {
			out = append(out, Milestone{At: l.at, KID: e.KID, From: State(e.FromState), To: State(e.ToState)})
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
func (l *ledger) future(s Schedule, k Key, all []Key) []Milestone {
	next := NextTransition(l.at, s, k, all)
	if next == nil {
		return nil
	}
	at := later(*next, l.at)
	switch k.State {
	case Standby:
		return []Milestone{{At: at, KID: k.KID, From: Standby, To: Active}}
	case Active:
		return []Milestone{{At: at, KID: k.KID, From: Active, To: Deprecated}}
	case Deprecated:
		return []Milestone{
			{At: at, KID: k.KID, From: Deprecated, To: Expired},
			{At: at.Add(s.PurgeAfter), KID: k.KID, From: Expired, To: Purged},
		}
	}
	return []Milestone{{At: at, KID: k.KID, From: k.State, To: Purged}}
}
