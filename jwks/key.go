package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// A Key is a public key of a set that verifies signatures.
type Key struct {
	id    string
	key   crypto.PublicKey
	alg   *algorithm // its own, or the usual one of its type
	fixed bool       // the set says so
}

// ID is the key's kid; "" if it has none.
func (k *Key) ID() string { return k.id }

// Algorithm is the alg of the key, or else what a key of its type usually
// signs with: RS256 for RSA, ES256, ES384 and ES512 by curve, EdDSA for OKP.
func (k *Key) Algorithm() jose.SignatureAlgorithm { return k.alg.name }

// Public is a *[rsa.PublicKey], an *[ecdsa.PublicKey] or an [ed25519.PublicKey].
func (k *Key) Public() crypto.PublicKey { return k.key }

// PEM is the public key as SubjectPublicKeyInfo in PEM (RFC 7468 section 13).
func (k *Key) PEM() string {
	der, err := x509.MarshalPKIXPublicKey(k.key)
	if err != nil { // cannot be: only the three types above are made
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// accepts says whether the key may verify a signature of that algorithm: the
// key's own alg decides, or its type if it names none (RFC 8725 section 3.1).
func (k *Key) accepts(a *algorithm) bool {
	if k.fixed {
		return k.alg.same(a)
	}
	return k.alg.kty == a.kty && k.alg.curve == a.curve
}

// importKey makes the key of its own members alone. Certificates are left out:
// no chain is verified here, so they could say nothing.
func importKey(members map[string]json.RawMessage) (crypto.PublicKey, error) {
	bare := map[string]json.RawMessage{}
	for _, name := range []string{"kty", "crv", "x", "y", "n", "e"} {
		if value, has := members[name]; has {
			bare[name] = value
		}
	}
	raw, err := json.Marshal(bare)
	if err != nil {
		return nil, err
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("it cannot be imported: %w", err)
	}
	return key.Key, nil
}

// strong refuses what RFC 7518 section 3.3 does, and what would only cost time.
func strong(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 || key.N.Bit(0) == 0 || key.E < 3 || key.E%2 == 0 {
			return errWeak
		}
		return nil
	case *ecdsa.PublicKey:
		_, err := key.ECDH() // on the curve, and not the point at infinity
		return err
	case ed25519.PublicKey:
		if len(key) == ed25519.PublicKeySize {
			return nil
		}
	}
	return errType
}
