package keys

import (
	"context"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

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
