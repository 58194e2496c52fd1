package keys

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// Preview is what a rotation by hand would do if it were done now. Nothing has
// changed.
type Preview struct {
	Active           Key  // the standby of today
	Deprecated       *Key // the active key of today
	PublishedSeconds int64
	Timeline         []Milestone // in the order of time
	Before, After    []Key       // what is published; the new standby's key is made only by the real thing
}

// Milestone is one thing that would happen to a key.
type Milestone struct {
	At   time.Time
	KID  string // empty for the new standby, which has no key yet
	From State
	To   State
}

// PreviewRotation answers what Rotate would do, and changes nothing. Errors:
// those of Rotate.
func (s *Store) PreviewRotation(ctx context.Context, by audit.By, tenantID uuid.UUID, req RotateRequest) (Preview, error) {
	ledgers, err := s.peek(ctx, by, s.now(), []uuid.UUID{tenantID})
	if err != nil {
		return Preview{}, err
	}
	if len(ledgers) == 0 || ledgers[0].tenant.Status == tenant.Deleted {
		return Preview{}, tenant.ErrNotFound
	}
	return ledgers[0].preview(req)
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
	next := l.in(p.Alg, Standby)
	if next == nil {
		return Preview{}, &StateError{From: Born, To: Active}
	}
	out.PublishedSeconds = publishedSeconds(*next, l.at)
	if err := l.promote(s, ByHand); err != nil {
		return Preview{}, err
	}
	out.Active, out.After = *l.in(p.Alg, Active), l.published()
	out.Timeline = l.timeline(s)
	if i := slices.IndexFunc(l.moves, func(m move) bool { return m.State == Deprecated }); i >= 0 {
		out.Deprecated = &l.moves[i].Key
	}
	return out, nil
}

// published lists the keys of the JWKS as a tenant's verifiers would see it.
func (l *ledger) published() []Key {
	out := slices.DeleteFunc(slices.Clone(l.keys), func(k Key) bool { return !k.State.Published() })
	order := []State{Active, Standby, Deprecated}
	slices.SortStableFunc(out, func(a, b Key) int {
		return slices.Index(order, a.State) - slices.Index(order, b.State)
	})
	return out
}

// timeline is what has just happened in this ledger and what follows from it.
func (l *ledger) timeline(s Schedule) []Milestone {
	var out []Milestone
	for _, m := range l.moves {
		from := Standby
		if m.State == Deprecated {
			from = Active
		}
		if m.State == Expired {
			from = Deprecated
		}
		out = append(out, Milestone{At: l.at, KID: m.KID, From: from, To: m.State})
	}
	out = append(out, Milestone{At: l.at, To: Standby})
	for _, m := range l.moves {
		if m.State == Deprecated {
			gone := *m.ExpiresAt
			out = append(out,
				Milestone{At: gone, KID: m.KID, From: Deprecated, To: Expired},
				Milestone{At: gone.Add(s.PurgeAfter), KID: m.KID, From: Expired, To: Purged})
		}
	}
	followed := append(l.of(s.Alg), Key{State: Standby, PublishedAt: l.at})
	if next := newLine(l.at, s, followed).promotionDue(); !next.IsZero() {
		out = append(out,
			Milestone{At: next, KID: l.in(s.Alg, Active).KID, From: Active, To: Deprecated},
			Milestone{At: next, From: Standby, To: Active})
	}
	slices.SortStableFunc(out, func(a, b Milestone) int { return a.At.Compare(b.At) })
	return out
}
