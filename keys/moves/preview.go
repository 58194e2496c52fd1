package moves

import (
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// Preview is the result that a rotation by hand would have now. Nothing has changed.
type Preview struct {
	Active           keys.Key  // the present standby
	Deprecated       *keys.Key // the present active key
	PublishedSeconds int64
	Timeline         []Milestone // in chronological order
	Before, After    []keys.Key  // the published keys, without the new standby, which is not generated
}

// Milestone is one transition of a key in a timeline.
type Milestone struct {
	At   time.Time
	KID  string // empty for a new key, which is not generated
	From keys.State
	To   keys.State
}

// addPlaceholder adds a key that only the real operation would generate: it has no kid
// and no public key.
func (l *ledger) addPlaceholder(alg jose.SignatureAlgorithm, state keys.State) {
	k := keys.Key{TenantID: l.tenant.ID, Alg: alg, Origin: keys.Generated, State: keys.Standby, CreatedAt: l.at, PublishedAt: l.at}
	l.addEvent(audit.Event{ToState: string(keys.Standby)}, nil)
	if state == keys.Active {
		k.State, k.ActivatedAt = keys.Active, &l.at
		l.addEvent(audit.Event{FromState: string(keys.Standby), ToState: string(keys.Active)}, nil)
	}
	l.keys = append(l.keys, k)
}

// applyDueSteps applies the steps that the worker would take at once.
func (l *ledger) applyDueSteps(s keys.Schedule) error {
	steps, _ := keys.Plan(l.at, s, l.keysOf(s.Alg))
	for _, step := range steps {
		if step.Kind == keys.CreateStandby {
			l.addPlaceholder(s.Alg, keys.Standby)
			continue
		}
		if err := l.applyStep(step, s, candidate{}, custody.Sealer{}); err != nil {
			return err
		}
	}
	return nil
}

// publishedKeys lists the keys in the order of the JWKS, without placeholders.
func (l *ledger) publishedKeys() []keys.Key {
	out := slices.DeleteFunc(slices.Clone(l.keys), func(k keys.Key) bool { return !k.State.Published() || k.KID == "" })
	order := []keys.State{keys.Active, keys.Standby, keys.Deprecated}
	slices.SortStableFunc(out, func(a, b keys.Key) int {
		return slices.Index(order, a.State) - slices.Index(order, b.State)
	})
	return out
}

// buildTimeline returns the transitions recorded in this ledger, and the scheduled ones
// of each published key of the policy and of the keys that just left.
func (l *ledger) buildTimeline(s keys.Schedule) []Milestone {
	var out []Milestone
	moved := map[string]bool{}
	for _, e := range l.events {
		if e.ToState != "" {
			out = append(out, Milestone{At: l.at, KID: e.KID, From: keys.State(e.FromState), To: keys.State(e.ToState)})
			moved[e.KID] = true
		}
	}
	all := l.keysOf(s.Alg)
	for _, k := range all {
		if k.State.Published() || moved[k.KID] {
			out = append(out, l.futureMilestones(s, k, all)...)
		}
	}
	slices.SortStableFunc(out, func(a, b Milestone) int { return a.At.Compare(b.At) })
	return out
}

// futureMilestones returns the scheduled transitions of one key.
func (l *ledger) futureMilestones(s keys.Schedule, k keys.Key, all []keys.Key) []Milestone {
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

// PolicyPreview is the result that storing or retiring a policy would have now. Nothing
// has changed.
type PolicyPreview struct {
	Policy        tenant.Policy
	Created       bool        // there is no such policy yet
	Timeline      []Milestone // in chronological order
	Before, After []keys.Key  // the published keys, without new keys, which are not generated
}

// addPlaceholderPolicy is addPolicy with placeholders for its keys.
func (l *ledger) addPlaceholderPolicy(p tenant.Policy) tenant.Policy {
	p.CreatedAt, p.UpdatedAt, p.RetiredAt = l.at, l.at, nil
	l.setPolicy(p)
	l.addPlaceholder(p.Alg, keys.Active)
	l.addPlaceholder(p.Alg, keys.Standby)
	return p
}

// raiseTokenHorizon changes the ledger's active key as the statement RaiseTokenHorizon
// changes its row.
func (l *ledger) raiseTokenHorizon(old, p tenant.Policy) {
	k := l.keyInState(p.Alg, keys.Active)
	if k == nil || old.MaxTokenTTL <= p.MaxTokenTTL {
		return
	}
	until := keys.Later(k.Horizon(), l.scheduleOf(old).TokenHorizon(l.at))
	k.TokenHorizon = &until
}
