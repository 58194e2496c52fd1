package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/go-jose/go-jose/v4"
)

// MinRSABits is the smallest accepted size of RSA keys, in bits (RFC 7518
// section 3.3).
const MinRSABits = 2048

// Errors about key material; test with errors.Is. None carries any of it.
var (
	ErrKeyMaterial = errors.New("keys: unusable key material")
	errRefused     = errors.New("keys: a private key is not marshaled")
	errNotItsOwn   = errors.New("keys: the public key beside a private key is not its own")
)

const redacted = "[redacted]"

// Private is a private key and its algorithm. However it is printed or logged,
// alone or inside other values, it shows "[redacted]" or the address of a
// function: the key is in a closure, out of the reach of reflection. The zero
// Private has no key and cannot sign.
type Private struct {
	alg algorithm
	key func() crypto.Signer
}

// NewPrivate returns a private key for an algorithm that can use it. Errors:
// [ErrUnsupportedAlgorithm], [ErrKeyMaterial].
func NewPrivate(alg jose.SignatureAlgorithm, key crypto.Signer) (Private, error) {
	a, err := lookupAlgorithm(alg)
	if err != nil {
		return Private{}, err
	}
	if err := a.checkPublic(key.Public()); err != nil {
		return Private{}, err
	}
	return Private{alg: a, key: func() crypto.Signer { return key }}, nil
}

// ParsePKCS8 parses the result of [Private.PKCS8] (RFC 5958). Errors:
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

// PKCS8 returns the unencrypted key (RFC 5958). The caller must seal it at once
// and clear it. Errors: [ErrKeyMaterial] for the zero Private.
func (p Private) PKCS8() ([]byte, error) {
	if p.key == nil {
		return nil, fmt.Errorf("%w: no key", ErrKeyMaterial)
	}
	return x509.MarshalPKCS8PrivateKey(p.key())
}

// Alg returns the key's algorithm; empty for the zero Private.
func (p Private) Alg() jose.SignatureAlgorithm { return p.alg.name }

// Public returns the public half; nil for the zero Private.
func (p Private) Public() crypto.PublicKey {
	if p.key == nil {
		return nil
	}
	return p.key().Public()
}

// IsZero reports whether there is no key.
func (p Private) IsZero() bool { return p.key == nil }

// checkPublic checks that the algorithm can use a public key. Errors:
// [ErrKeyMaterial].
func (a algorithm) checkPublic(pub crypto.PublicKey) error {
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
	case *mldsa.PublicKey:
		if a.kty == "AKP" && k.Parameters() == a.mldsa {
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

// MarshalBinary always fails, so that gob and similar encoders cannot write a
// value that would decode to no key.
func (Private) MarshalBinary() ([]byte, error) { return nil, errRefused }

// GobEncode always fails.
func (Private) GobEncode() ([]byte, error) { return nil, errRefused }

// WithAlgorithm returns the same key for another algorithm of its key type.
// Errors: those of [NewPrivate].
func (p Private) WithAlgorithm(alg jose.SignatureAlgorithm) (Private, error) {
	if p.key == nil {
		return Private{}, fmt.Errorf("%w: no key", ErrKeyMaterial)
	}
	return NewPrivate(alg, p.key())
}

// ParsePair parses a private key (PKCS#8) and checks that it belongs to a
// public JWK. Errors: those of [ParsePKCS8] and [ParsePublicJWK], and another
// one for keys that are not a pair.
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
