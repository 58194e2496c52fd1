package keys

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// ErrRotationWaits means that a rotation would leave more keys published than
// max_published_keys while tokens of all of them may still live.
var ErrRotationWaits = errors.New("keys: max_published_keys leaves no room while tokens of the oldest key may live")

// Rotation is what a rotation by hand did.
type Rotation struct {
	Active     Entry
	Deprecated *Entry // nil when nothing signed before
	Standby    Entry
	// PublishedSeconds is for how long the new active key had been published:
	// below the policy's lead, some verifiers may not know it yet.
	PublishedSeconds int64
}

// RotateRequest asks for a rotation by hand.
type RotateRequest struct {
	Alg    jose.SignatureAlgorithm // empty: the default policy's
	Reason string                  // free text for the audit history
}

// Rotate makes the standby active and the active key deprecated, now, however
// long the standby has been published, and puts a new standby in its place.
// Errors: ErrPolicyNotFound, ErrRotationWaits, tenant.ErrNotFound, ErrDataKey,
// ErrUnavailable.
func (s *Store) Rotate(ctx context.Context, by audit.By, tenantID uuid.UUID, req RotateRequest) (Rotation, error) {
	var out Rotation
	err := s.change(ctx, by, tenantID, one(req.Alg), func(l *ledger, m *made) (err error) {
		p, err := l.policy(req.Alg)
		if err != nil {
			return err
		}
		out, err = l.rotate(p, m)
		if err == nil && req.Reason != "" {
			l.because(req.Reason)
		}
		return err
	})
	return out, err
}

// rotate is the rotation by hand of one policy.
func (l *ledger) rotate(p tenant.Policy, m *made) (Rotation, error) {
	var out Rotation
	s := l.schedule(p)
	if err := l.makeRoom(s); err != nil {
		return out, err
	}
	old, next := l.in(p.Alg, Active), l.in(p.Alg, Standby)
	if next == nil {
		// The standby was used up a moment ago and not replaced yet.
		if _, err := l.enter(m.take(p.Alg), m.sealer, ""); err != nil {
			return out, err
		}
		old, next = l.in(p.Alg, Active), l.in(p.Alg, Standby)
	}
	out.PublishedSeconds = publishedSeconds(*next, l.at)
	if err := l.promote(s, ByHand); err != nil {
		return out, err
	}
	standby, err := l.enter(m.take(p.Alg), m.sealer, "")
	if err != nil {
		return out, err
	}
	l.reschedule(p)
	out.Active, out.Standby = l.entry(*l.in(p.Alg, Active)), l.entry(standby)
	if old != nil {
		gone := l.entry(*l.find(old.KID))
		out.Deprecated = &gone
	}
	return out, nil
}

// makeRoom lets the oldest deprecated keys leave early if one more would be
// too many, but none whose tokens may still live.
func (l *ledger) makeRoom(s Schedule) error {
	published := 1 // the key that is about to come
	for _, k := range l.of(s.Alg) {
		if k.State.Published() {
			published++
		}
	}
	for published > s.MaxPublishedKeys {
		k := l.oldestDeprecated(s.Alg)
		if k == nil || l.at.Before(safe(s, *k)) {
			return fmt.Errorf("%w: max_published_keys is %d", ErrRotationWaits, s.MaxPublishedKeys)
		}
		if err := l.expire(k); err != nil {
			return err
		}
		published--
	}
	return nil
}

func (l *ledger) oldestDeprecated(alg jose.SignatureAlgorithm) (oldest *Key) {
	for i := range l.keys {
		k := &l.keys[i]
		if k.Alg == alg && k.State == Deprecated && (oldest == nil || byDeprecation(*k, *oldest) < 0) {
			oldest = k
		}
	}
	return oldest
}

// because adds somebody's words to every event of this transaction.
func (l *ledger) because(reason string) {
	for i := range l.events {
		if l.events[i].Reason == "" {
			l.events[i].Reason = reason
		}
	}
}

// made are the keys that were generated before a transaction, by algorithm.
type made struct {
	sealer     sealer
	candidates map[jose.SignatureAlgorithm][]candidate
}

// take gives the next one away.
func (m *made) take(alg jose.SignatureAlgorithm) candidate {
	c := m.candidates[alg][0]
	m.candidates[alg] = m.candidates[alg][1:]
	return c
}

// wanted says for which of a tenant's policies how many keys may be needed.
type wanted func(l *ledger) (map[jose.SignatureAlgorithm]int, error)

// one policy, by its algorithm: a new active and a new standby key at most.
func one(alg jose.SignatureAlgorithm) wanted {
	return func(l *ledger) (map[jose.SignatureAlgorithm]int, error) {
		p, err := l.policy(alg)
		return map[jose.SignatureAlgorithm]int{p.Alg: 2}, err
	}
}

// every live policy.
func every(l *ledger) (map[jose.SignatureAlgorithm]int, error) {
	n := map[jose.SignatureAlgorithm]int{}
	for _, p := range l.live() {
		n[p.Alg] = 2
	}
	return n, nil
}

// change is the frame of an operation by hand: make the keys that may be
// wanted, then lock the tenant, decide and write.
func (s *Store) change(ctx context.Context, by audit.By, tenantID uuid.UUID, want wanted, decide func(*ledger, *made) error) error {
	m, err := s.make(ctx, by, tenantID, want)
	if err != nil {
		return err
	}
	return s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		l, err := s.open(ctx, tx, by, tenantID)
		if err != nil {
			return err
		}
		if err := decide(l, m); err != nil {
			return err
		}
		return write(ctx, tx, l)
	})
}

// make generates keys outside any transaction.
func (s *Store) make(ctx context.Context, by audit.By, tenantID uuid.UUID, want wanted) (*made, error) {
	ledgers, err := s.peek(ctx, by, s.now(), []uuid.UUID{tenantID})
	if err != nil {
		return nil, err
	}
	if len(ledgers) == 0 || ledgers[0].tenant.Status == tenant.Deleted {
		return nil, tenant.ErrNotFound
	}
	counts, err := want(ledgers[0])
	if err != nil || len(counts) == 0 {
		return &made{}, err
	}
	sealers, err := s.cfg.Custody.sealers(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	sealer, opened := sealers[tenantID]
	if !opened {
		return nil, ErrDataKey
	}
	m := &made{sealer: sealer, candidates: map[jose.SignatureAlgorithm][]candidate{}}
	for alg, n := range counts {
		p, err := ledgers[0].policy(alg)
		for ; n > 0 && err == nil; n-- {
			var c candidate
			c, err = s.candidate(ctx, p)
			m.candidates[alg] = append(m.candidates[alg], c)
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}
