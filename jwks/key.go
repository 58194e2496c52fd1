package jwks

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"

	"github.com/go-jose/go-jose/v4"
)

// A Key is a public key of a set that verifies signatures.
type Key struct {
	id    string
	key   crypto.PublicKey
	alg   *algorithm // its own, or the default of its type
	fixed bool       // the set names the algorithm
}

// ID returns the key's kid; "" if it has none.
func (k *Key) ID() string { return k.id }

// Algorithm returns the alg of the key, or else the most common one of its type:
// RS256 for RSA, ES256, ES384 and ES512 by curve, EdDSA for OKP. A key of type AKP
// always has one (RFC 9964).
func (k *Key) Algorithm() jose.SignatureAlgorithm { return k.alg.name }

// Public returns an *[rsa.PublicKey], an *[ecdsa.PublicKey], an [ed25519.PublicKey]
// or an *[mldsa.PublicKey].
func (k *Key) Public() crypto.PublicKey { return k.key }

// PEM returns the public key as SubjectPublicKeyInfo in PEM (RFC 7468 section 13).
func (k *Key) PEM() string {
	der, err := x509.MarshalPKIXPublicKey(k.key)
	if err != nil { // cannot be: only the four types above are made
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// accepts reports whether the key may verify a signature of that algorithm: the
// key's own alg decides, or its type if it names none (RFC 8725 section 3.1).
func (k *Key) accepts(a *algorithm) bool {
	if k.fixed {
		return k.alg.isSame(a)
	}
	return k.alg.kty == a.kty && k.alg.curve == a.curve
}
