package moves

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// candidate is a new key that no table knows yet. Making one is slow for RSA,
// so it is made before a transaction and thrown away if it is not wanted.
type candidate struct {
	alg     jose.SignatureAlgorithm
	kid     string
	jwk     json.RawMessage
	private keys.Private // the zero Private for a public key brought in alone
	origin  keys.Origin
}

func (s *Store) candidate(ctx context.Context, p tenant.Policy) (candidate, error) {
	private, err := s.cfg.Generator.Generate(ctx, p.Alg, p.RSABits)
	if err != nil {
		return candidate{}, err
	}
	return newCandidate(private)
}

func newCandidate(private keys.Private) (candidate, error) {
	kid, err := keys.Thumbprint(private.Public())
	if err != nil {
		return candidate{}, err
	}
	jwk, err := keys.PublicJWK(private.Public(), private.Alg(), kid)
	return candidate{alg: private.Alg(), kid: kid, jwk: jwk, private: private, origin: keys.Generated}, err
}

// seal closes the private key for the tenant's row of this kid.
func (c candidate) seal(tenantID uuid.UUID, s custody.Sealer) ([]byte, error) {
	der, err := c.private.PKCS8()
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return s.Key.Seal(tenantID, s.Version, c.kid, der)
}

// arrival is the event of its entry.
func (c candidate) arrival() audit.Action {
	if c.origin == keys.Imported {
		return audit.KeyImported
	}
	return audit.KeyCreated
}

// made gives new keys to a change, each at most once, and what seals them.
type made struct {
	pick   func(tenant.Policy) (candidate, error)
	sealer func() (custody.Sealer, error)
	kept   map[kind][]candidate // what an attempt that ended without a trace had, and what it wanted
	used   map[kind]int         // by this attempt
}

// kind is what keys of a policy have in common.
type kind struct {
	alg  jose.SignatureAlgorithm
	bits int
}

func kindOf(p tenant.Policy) kind { return kind{p.Alg, p.RSABits} }

// rewind begins another attempt.
func (m *made) rewind() { m.used = map[kind]int{} }

func (m *made) keep(p tenant.Policy, c candidate) {
	if m.kept == nil {
		m.kept = map[kind][]candidate{}
	}
	m.kept[kindOf(p)] = append(m.kept[kindOf(p)], c)
}

func (m *made) take(p tenant.Policy) (candidate, error) {
	k := kindOf(p)
	if m.used[k] == len(m.kept[k]) {
		c, err := m.pick(p)
		if err != nil {
			return candidate{}, err
		}
		m.keep(p, c)
	}
	m.used[k]++
	return m.kept[k][m.used[k]-1], nil
}

// enter brings a new key of one of the ledger's policies in. Errors:
// custody.ErrDataKey, *slowKeyError.
func (m *made) enter(l *ledger, alg jose.SignatureAlgorithm, how keys.Activation) (keys.Key, error) {
	p, err := l.policy(alg)
	if err != nil {
		return keys.Key{}, err
	}
	c, err := m.take(p)
	if err != nil {
		return keys.Key{}, err
	}
	s, err := m.sealer()
	if err != nil {
		return keys.Key{}, err
	}
	return l.enter(c, s, how)
}

// slowKeyError asks for a key that takes too long to be made under a lock.
type slowKeyError struct{ policy tenant.Policy }

func (e *slowKeyError) Error() string {
	return fmt.Sprintf("keys: no %s key is ready", e.policy.Alg)
}

// quick is a key that is ready, or one that is made in less time than it takes
// to ask the database anything.
func (s *Store) quick(ctx context.Context, p tenant.Policy) (candidate, error) {
	if private, ready := s.cfg.Generator.Ready(p.Alg, p.RSABits); ready {
		return newCandidate(private)
	}
	if keys.KeyType(p.Alg) == "RSA" {
		return candidate{}, &slowKeyError{policy: p}
	}
	return s.candidate(ctx, p)
}
