package moves

import (
	"context"
	"encoding/json"

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
