package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/go-jose/go-jose/v4"
)

// MinRSABits is the smallest RSA key there is (RFC 7518 section 3.3).
const MinRSABits = 2048

// Errors about key material; test with errors.Is. None carries any of it.
var (
	ErrKeyMaterial = errors.New("keys: unusable key material")
	errRefused     = errors.New("keys: a private key is not marshaled")
	errNotItsOwn   = errors.New("keys: the public key beside a private key is not its own")
)

const redacted = "[redacted]"

// Private is a private key together with the algorithm it signs by. However it
// is printed or logged, alone or inside other values, it shows "[redacted]" or
// the address of a function: the key sits in a closure, out of the reach of
// reflection. The zero Private holds no key and signs nothing.
type Private struct {
	alg algorithm
	key func() crypto.Signer
}

// NewPrivate takes a key that fits the algorithm. Errors: [ErrUnsupportedAlgorithm],
// [ErrKeyMaterial].
func NewPrivate(alg jose.SignatureAlgorithm, key crypto.Signer) (Private, error) {
	a, err := lookup(alg)
	if err != nil {
		return Private{}, err
	}
	if err := a.fits(key.Public()); err != nil {
		return Private{}, err
	}
	return Private{alg: a, key: func() crypto.Signer { return key }}, nil
}

// ParsePKCS8 opens what [Private.PKCS8] has written (RFC 5958). Errors:
// [ErrUnsupportedAlgorithm], [ErrKeyMaterial].
func ParsePKCS8(alg jose.SignatureAlgorithm, der []byte) (Private, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil { // its text may describe the material: not passed on
		return Private{}, fmt.Errorf("%w: not a PKCS#8 private key", ErrKeyMaterial)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return Private{}, fmt.Errorf("%w: not a signing key", ErrKeyMaterial)
	}
	return NewPrivate(alg, signer)
}

// PKCS8 is the key in clear, to be sealed at once and then cleared.
func (p Private) PKCS8() ([]byte, error) {
	if p.key == nil {
		return nil, fmt.Errorf("%w: no key", ErrKeyMaterial)
	}
	return x509.MarshalPKCS8PrivateKey(p.key())
}

// Alg is the algorithm the key signs by; empty for the zero Private.
func (p Private) Alg() jose.SignatureAlgorithm { return p.alg.name }

// Public is the public half; nil for the zero Private.
func (p Private) Public() crypto.PublicKey {
	if p.key == nil {
		return nil
	}
	return p.key().Public()
}

// IsZero reports whether there is no key.
func (p Private) IsZero() bool { return p.key == nil }

// fits says why a public key cannot be used with the algorithm, or nil.
func (a algorithm) fits(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if a.kty == "RSA" && k.N.BitLen() < MinRSABits {
			return fmt.Errorf("%w: an RSA key of %d bits, %d are the least", ErrKeyMaterial, k.N.BitLen(), MinRSABits)
		}
		if a.kty == "RSA" {
			return nil
		}
	case *ecdsa.PublicKey:
		if a.kty == "EC" && k.Curve == a.curve {
			return nil
		}
	case ed25519.PublicKey:
		if a.kty == "OKP" && len(k) == ed25519.PublicKeySize {
			return nil
		}
	}
	return fmt.Errorf("%w: not the kind of key that %s signs with", ErrKeyMaterial, a.name)
}

// Format prints "[redacted]" for every verb and flag of package fmt.
func (Private) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String is "[redacted]".
func (Private) String() string { return redacted }

// GoString is "[redacted]".
func (Private) GoString() string { return redacted }

// LogValue is "[redacted]".
func (Private) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON is the string "[redacted]".
func (Private) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText is "[redacted]".
func (Private) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary refuses, so that gob and its like fail instead of writing
// something that reads back as no key.
func (Private) MarshalBinary() ([]byte, error) { return nil, errRefused }

// GobEncode refuses.
func (Private) GobEncode() ([]byte, error) { return nil, errRefused }

// WithAlgorithm returns the same key for another algorithm that signs with keys
// of its kind. Errors: those of [NewPrivate].
func (p Private) WithAlgorithm(alg jose.SignatureAlgorithm) (Private, error) {
	if p.key == nil {
		return Private{}, fmt.Errorf("%w: no key", ErrKeyMaterial)
	}
	return NewPrivate(alg, p.key())
}

// ParsePair returns a private key, if it belongs to the public one that is
// published as a JWK. Errors: those of [ParsePKCS8] and [ParsePublicJWK], and one
// for two keys that are no pair.
func ParsePair(alg jose.SignatureAlgorithm, der, jwk []byte) (Private, error) {
	private, err := ParsePKCS8(alg, der)
	if err != nil {
		return Private{}, err
	}
	public, err := ParsePublicJWK(alg, jwk)
	if err != nil {
		return Private{}, err
	}
	if !EqualPublic(private.Public(), public) {
		return Private{}, errNotItsOwn
	}
	return private, nil
}
