package moves

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// candidate is a new key that is not in the database yet. RSA keys are slow to generate,
// so candidates are generated before a transaction and discarded if it does not need
// them.
type candidate struct {
	alg     jose.SignatureAlgorithm
	algs    []jose.SignatureAlgorithm // all of a key for several, alg first; else nil
	kid     string
	jwk     json.RawMessage
	expires time.Time    // at its issuer; zero: never
	private keys.Private // zero for an imported public key
	origin  keys.Origin
	field   string // where an imported key is in the request
	index   int    // in the JWK Set that it was imported from
	twins   []int  // where else the set has the same key, for other algorithms or twice
}

// newCandidate returns a candidate for a policy, with a key that is ready if there is
// one.
func (g *Generator) newCandidate(ctx context.Context, tenantID uuid.UUID, p tenant.Policy) (candidate, error) {
	private, err := g.Generate(ctx, tenantID, p.Alg, p.RSABits)
	if err != nil {
		return candidate{}, err
	}
	return candidateFor(private)
}

// candidateFor names a private key by its thumbprint.
func candidateFor(private keys.Private) (candidate, error) {
	kid, err := keys.Thumbprint(private.Public())
	if err != nil {
		return candidate{}, err
	}
	jwk, err := keys.PublicJWK(private.Public(), private.Alg(), kid)
	return candidate{alg: private.Alg(), kid: kid, jwk: jwk, private: private, origin: keys.Generated}, err
}

// sealPrivate encrypts the private key for the tenant's row with this kid.
func (c candidate) sealPrivate(tenantID uuid.UUID, s custody.Sealer) ([]byte, error) {
	der, err := c.private.PKCS8()
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return s.Key.Seal(tenantID, s.Version, c.kid, der)
}

// creationAction returns the action of the event that adds the key.
func (c candidate) creationAction() audit.Action {
	if c.origin == keys.Imported {
		return audit.KeyImported
	}
	return audit.KeyCreated
}

// details adds the key's algorithms to the details of the event that adds it.
func (c candidate) details(d map[string]any) map[string]any {
	if d["alg"] = c.alg; c.algs != nil {
		d["algs"] = c.algs
	}
	return d
}

// keySupply hands a transaction its new keys, and survives retries: a key generated for
// an attempt that was rolled back is used by the next one.
type keySupply struct {
	generate  func(tenant.Policy) (candidate, error)
	sealer    func() (custody.Sealer, error)
	wait      func(p tenant.Policy, n int) time.Duration // until the tenant may have n more keys
	admitted  bool                                       // by any attempt
	opened    custody.Sealer                             // the data key that was opened between attempts
	unopened  error                                      // why it was not: the KMS does not answer
	available map[keySpec][]candidate                    // of all attempts
	used      map[keySpec]int                            // by this attempt
}

// keySpec identifies the keys that fit a policy.
type keySpec struct {
	alg  jose.SignatureAlgorithm
	bits int
}

func keySpecOf(p tenant.Policy) keySpec { return keySpec{p.Alg, p.RSABits} }

// restart begins another attempt.
func (m *keySupply) restart() { m.used = map[keySpec]int{} }

// admit returns a *RateError if the tenant has had too many keys that take long to
// generate. It asks once: the keys that the first attempt has had are used by the next.
func (m *keySupply) admit(p tenant.Policy, n int) error {
	if m.admitted {
		return nil
	}
	if wait := m.wait(p, n); wait > 0 {
		return &RateError{wait}
	}
	m.admitted = true
	return nil
}

func (m *keySupply) add(p tenant.Policy, c candidate) {
	if m.available == nil {
		m.available = map[keySpec][]candidate{}
	}
	m.available[keySpecOf(p)] = append(m.available[keySpecOf(p)], c)
}

// nextCandidate returns an unused candidate, generating one if there is none.
func (m *keySupply) nextCandidate(p tenant.Policy) (candidate, error) {
	k := keySpecOf(p)
	if m.used[k] == len(m.available[k]) {
		c, err := m.generate(p)
		if err != nil {
			return candidate{}, err
		}
		m.add(p, c)
	}
	m.used[k]++
	return m.available[k][m.used[k]-1], nil
}

// addKey adds a new key for one of the ledger's policies. Errors: custody.ErrDataKey,
// *keyNotReadyError, *dataKeyClosedError, ErrUnavailable for a KMS without an answer.
func (m *keySupply) addKey(l *ledger, alg jose.SignatureAlgorithm, how keys.Activation) (keys.Key, error) {
	p, err := l.findPolicy(alg)
	if err != nil {
		return keys.Key{}, err
	}
	c, err := m.nextCandidate(p)
	if err != nil {
		return keys.Key{}, err
	}
	s, err := m.sealer()
	if err != nil {
		return keys.Key{}, err
	}
	return l.addKey(c, s, how)
}

// dataKeyWait bounds the wait of a change for a data key that a KMS has to open.
const dataKeyWait = 5 * time.Second

// dataKeyClosedError means that a data key has to be opened, for which a KMS may be asked.
type dataKeyClosedError struct{ rows custody.DataKeyRows }

func (e *dataKeyClosedError) Error() string { return "keys: the tenant's data key is not open" }

// sealerOf returns the current data key of a locked tenant. Errors: *dataKeyClosedError; or
// why it could not be opened before this attempt.
func (m *keySupply) sealerOf(c *custody.Custody, rows custody.DataKeyRows) (custody.Sealer, error) {
	if s, opened := c.OpenedSealer(rows); opened {
		return s, nil
	}
	if len(rows) == 1 && rows[0].Version == m.opened.Version && rows[0].MasterKeyID != nil {
		return m.opened, nil // the cache may be full
	}
	if m.unopened != nil {
		return custody.Sealer{}, m.unopened
	}
	return custody.Sealer{}, &dataKeyClosedError{rows}
}

// open opens the data key between two attempts of a transaction. The next attempt goes
// without it if the KMS does not answer. Errors: custody.ErrDataKey.
func (m *keySupply) open(ctx context.Context, c *custody.Custody, rows custody.DataKeyRows) (err error) {
	ctx, cancel := context.WithTimeout(ctx, dataKeyWait)
	defer cancel()
	m.opened, err = c.SealerFrom(ctx, rows)
	if err != nil && (errors.Is(err, db.ErrUnavailable) || ctx.Err() != nil) {
		m.unopened, err = fmt.Errorf("%w: %w", db.ErrUnavailable, err), nil
	}
	return err
}

// keyNotReadyError means that a key has to be generated that takes too long to generate
// under a lock.
type keyNotReadyError struct{ policy tenant.Policy }

func (e *keyNotReadyError) Error() string {
	return fmt.Sprintf("keys: no %s key is ready", e.policy.Alg)
}

// quickCandidate returns a candidate whose key is ready or is generated faster than a
// database round trip. Errors: *keyNotReadyError.
func (g *Generator) quickCandidate(ctx context.Context, tenantID uuid.UUID, p tenant.Policy) (candidate, error) {
	if private, ready := g.Ready(tenantID, p.Alg, p.RSABits); ready {
		return candidateFor(private)
	}
	if keys.KeyType(p.Alg) == "RSA" {
		return candidate{}, &keyNotReadyError{policy: p}
	}
	return g.newCandidate(ctx, tenantID, p)
}
