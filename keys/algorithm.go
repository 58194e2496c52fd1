package keys

import (
	"crypto"
	"crypto/elliptic"
	_ "crypto/sha256" // the hashes of the table
	_ "crypto/sha512"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Ed25519 is the fully specified name of what RFC 8037 calls EdDSA (RFC 9864
// section 2.2). Both use the same kind of key; a policy chooses the label.
const Ed25519 = jose.SignatureAlgorithm("Ed25519")

// ErrUnsupportedAlgorithm says that a name is none of [Algorithms].
var ErrUnsupportedAlgorithm = errors.New("keys: unsupported algorithm")

// algorithm is one row of what RFC 7518 section 3.1, RFC 8037 and RFC 9864
// specify and Keyward signs with.
type algorithm struct {
	name  jose.SignatureAlgorithm
	kty   string
	crv   string         // empty for RSA
	curve elliptic.Curve // for EC
	hash  crypto.Hash    // 0: the message itself is signed
	pss   bool
}

// algorithms in the order in which they are named to people. HMAC and "none"
// are missing on purpose (RFC 8725 sections 3.1 and 3.2).
var algorithms = []algorithm{
	{name: jose.ES256, kty: "EC", crv: "P-256", curve: elliptic.P256(), hash: crypto.SHA256},
	{name: jose.ES384, kty: "EC", crv: "P-384", curve: elliptic.P384(), hash: crypto.SHA384},
	{name: jose.ES512, kty: "EC", crv: "P-521", curve: elliptic.P521(), hash: crypto.SHA512},
	{name: jose.EdDSA, kty: "OKP", crv: "Ed25519"},
	{name: Ed25519, kty: "OKP", crv: "Ed25519"},
	{name: jose.RS256, kty: "RSA", hash: crypto.SHA256},
	{name: jose.RS384, kty: "RSA", hash: crypto.SHA384},
	{name: jose.RS512, kty: "RSA", hash: crypto.SHA512},
	{name: jose.PS256, kty: "RSA", hash: crypto.SHA256, pss: true},
	{name: jose.PS384, kty: "RSA", hash: crypto.SHA384, pss: true},
	{name: jose.PS512, kty: "RSA", hash: crypto.SHA512, pss: true},
}

// Algorithms lists what a policy may sign with, the default first.
func Algorithms() []jose.SignatureAlgorithm {
	names := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		names[i] = a.name
	}
	return names
}

// ParseAlgorithm returns the algorithm of that name, which is case-sensitive
// (RFC 7515 section 4.1.1). Its error is an [ErrUnsupportedAlgorithm] that
// says which there are.
func ParseAlgorithm(name string) (jose.SignatureAlgorithm, error) {
	a, err := lookup(jose.SignatureAlgorithm(name))
	return a.name, err
}

// KeyType is the "kty" of an algorithm's keys: EC, OKP or RSA; empty for an
// algorithm that is not supported.
func KeyType(alg jose.SignatureAlgorithm) string {
	a, _ := lookup(alg)
	return a.kty
}

func lookup(alg jose.SignatureAlgorithm) (algorithm, error) {
	for _, a := range algorithms {
		if a.name == alg {
			return a, nil
		}
	}
	return algorithm{}, fmt.Errorf("%w %q: it is one of %s", ErrUnsupportedAlgorithm, alg, AlgorithmNames())
}

// AlgorithmNames lists [Algorithms] in a sentence.
func AlgorithmNames() string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a.name))
	}
	return strings.Join(names, ", ")
}

// coordinate is the length in bytes of a coordinate of the curve and of R and
// S in a signature: 66 for P-521 (RFC 7518 sections 3.4 and 6.2.1.2).
func (a algorithm) coordinate() int { return (a.curve.Params().BitSize + 7) / 8 }

// signatureSize is the length in bytes of a signature by the key.
func (a algorithm) signatureSize(pub crypto.PublicKey) int {
	switch a.kty {
	case "EC":
		return 2 * a.coordinate()
	case "OKP":
		return 64
	}
	if k, ok := pub.(interface{ Size() int }); ok {
		return k.Size()
	}
	return 0
}

// Curve is the elliptic curve of an algorithm's keys; nil if they are not of type
// EC.
func Curve(alg jose.SignatureAlgorithm) elliptic.Curve {
	a, _ := lookup(alg)
	return a.curve
}

// CheckPublic says why a public key cannot be used with an algorithm, or returns
// nil. Errors: [ErrUnsupportedAlgorithm], [ErrKeyMaterial].
func CheckPublic(alg jose.SignatureAlgorithm, pub crypto.PublicKey) error {
	a, err := lookup(alg)
	if err != nil {
		return err
	}
	return a.fits(pub)
}
