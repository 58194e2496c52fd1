package moves

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// past is a tenant that has been looked after for a while. Each moment of it
// is a ledger, because the rows of a ledger share its time.
type past struct {
	*ledger // the last moment's
	dataKey custody.DataKeyRow
	sealer  custody.Sealer
	chain   []audit.Event
	sealed  map[string][]byte // private keys by kid, as they entered
	events  map[string]int64  // seq of the last move by kid
}

// bornAt spreads the tenants' creation so that the next rotation of the first
// one is due about an interval from now and that of the last one soon, but not
// before seedQuiet, whatever delay [keys.Jitter] gives them.
func (s Seed) bornAt(now time.Time, i int) time.Time {
	rotations := time.Duration(s.Keys - 2)
	latest := seedInterval - time.Duration(float64(seedInterval)*seedJitter)*rotations - seedQuiet
	ago := time.Duration(float64(latest) * (1 - float64(i)/float64(s.Tenants)))
	longest := seedInterval + time.Duration(float64(seedInterval)*seedJitter)
	return now.Add(-rotations*longest - ago).Truncate(time.Microsecond)
}

// seedPast lives through a tenant's past: its creation, and a rotation each
// time one was due.
func (s *Store) seedPast(ctx context.Context, by audit.By, seed Seed, now time.Time, i int) (*past, error) {
	spec := seed.spec(i)
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	at := seed.bornAt(now, i)
	p := &past{sealed: map[string][]byte{}, events: map[string]int64{}}
	p.ledger = s.newborn(idAt(at), spec, by, at)
	p.jitter = seedJitter
	var err error
	if p.sealer, p.dataKey, err = s.cfg.Custody.NewDataKey(ctx, p.tenant.ID, 1, at); err != nil {
		return nil, err
	}
	p.note(audit.Event{Action: audit.DataKeyCreated}, map[string]any{"version": p.sealer.Version})
	if err := s.found(ctx, p.ledger, p.policies[0], p.sealer); err != nil {
		return nil, err
	}
	for due := p.due[seed.Alg]; due.Before(now) && len(p.keys) < seed.Keys; due = p.due[seed.Alg] {
		if err := s.seedRotation(ctx, p, due); err != nil {
			return nil, err
		}
	}
	for int(p.head.Seq)+len(p.ledger.events) < seed.Events {
		p.note(audit.Event{Action: audit.AuthorizationDenied}, map[string]any{"method": "GET", "path": "/v1/tenants"})
	}
	p.close()
	return p, nil
}

// seedRotation takes the steps that were due at a time.
func (s *Store) seedRotation(ctx context.Context, p *past, at time.Time) error {
	p.open(at)
	policy := p.policies[0]
	c, err := s.candidate(ctx, policy)
	if err != nil {
		return err
	}
	var done Done
	return s.follow(p.ledger, &work{
		candidates: map[policyName]candidate{{p.tenant.ID, policy.Alg}: c},
		sealers:    map[uuid.UUID]custody.Sealer{p.tenant.ID: p.sealer},
	}, &done)
}

// close links the moment's events to the chain and keeps what rows need.
func (p *past) close() {
	head, events := audit.Chain(p.head, p.ledger.events)
	p.head, p.chain = head, append(p.chain, events...)
	for _, b := range p.births {
		p.sealed[b.KID], p.events[b.KID] = b.sealed, b.stateEvent
	}
	for _, m := range p.moves {
		p.events[m.KID] = m.stateEvent
	}
}

// open begins another moment.
func (p *past) open(at time.Time) {
	p.close()
	p.ledger = &ledger{
		tenant: p.tenant, head: p.head, jitter: p.jitter, by: p.by, at: at, policies: p.policies, keys: p.keys,
		due: map[jose.SignatureAlgorithm]time.Time{},
	}
}

// idAt is a UUIDv7 (RFC 9562 section 5.7) of an earlier time.
func idAt(at time.Time) (id uuid.UUID) {
	_, _ = rand.Read(id[:]) // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// policyRow is the row of the tenant's one policy.
func (p *past) policyRow() (tenant.PolicyRow, time.Time) {
	policy := p.policies[0]
	return tenant.PolicyRowOf(p.tenant.ID, policy), p.due[policy.Alg]
}
