package keys

import (
	"crypto"
	"crypto/elliptic"
	"crypto/mldsa"
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

// ErrUnsupportedAlgorithm means that a name is not one of [Algorithms].
var ErrUnsupportedAlgorithm = errors.New("keys: unsupported algorithm")

// algorithm describes a supported signature algorithm (RFC 7518 section 3.1,
// RFC 8037, RFC 9864, RFC 9964).
type algorithm struct {
	name  jose.SignatureAlgorithm
	kty   string
	crv   string           // for EC and OKP
	curve elliptic.Curve   // for EC
	hash  crypto.Hash      // 0: the message itself is signed
	pss   bool             // for RSA
	mldsa mldsa.Parameters // for AKP
}

// algorithms is in the order of lists and messages. HMAC and "none" are missing
// on purpose (RFC 8725 sections 3.1 and 3.2).
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
	{name: jose.MLDSA44, kty: "AKP", mldsa: mldsa.MLDSA44()},
	{name: jose.MLDSA65, kty: "AKP", mldsa: mldsa.MLDSA65()},
	{name: jose.MLDSA87, kty: "AKP", mldsa: mldsa.MLDSA87()},
}

// Algorithms lists the algorithms of policies, the default first.
func Algorithms() []jose.SignatureAlgorithm {
	names := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		names[i] = a.name
	}
	return names
}

// ParseAlgorithm returns the algorithm of a name, which is case-sensitive (RFC
// 7515 section 4.1.1). Errors: [ErrUnsupportedAlgorithm], with the names of
// all.
func ParseAlgorithm(name string) (jose.SignatureAlgorithm, error) {
	a, err := lookupAlgorithm(jose.SignatureAlgorithm(name))
	return a.name, err
}

// KeyType returns the "kty" of an algorithm's keys: EC, OKP, RSA or AKP; empty
// for an unsupported algorithm.
func KeyType(alg jose.SignatureAlgorithm) string {
	a, _ := lookupAlgorithm(alg)
	return a.kty
}

// lookupAlgorithm returns the row of an algorithm. Errors:
// [ErrUnsupportedAlgorithm].
func lookupAlgorithm(alg jose.SignatureAlgorithm) (algorithm, error) {
	for _, a := range algorithms {
		if a.name == alg {
			return a, nil
		}
	}
	return algorithm{}, fmt.Errorf("%w %q: it is one of %s", ErrUnsupportedAlgorithm, alg, AlgorithmNames())
}

// AlgorithmNames returns the names of all [Algorithms], separated by commas.
func AlgorithmNames() string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a.name))
	}
	return strings.Join(names, ", ")
}

// coordinateSize returns the length of a curve coordinate, and of R and S in a
// signature, in bytes: 66 for P-521 (RFC 7518 sections 3.4 and 6.2.1.2).
func (a algorithm) coordinateSize() int { return (a.curve.Params().BitSize + 7) / 8 }

// signatureSize returns the length of a signature in bytes.
func (a algorithm) signatureSize(pub crypto.PublicKey) int {
	switch a.kty {
	case "EC":
		return 2 * a.coordinateSize()
	case "OKP":
		return 64
	case "AKP":
		return a.mldsa.SignatureSize()
	}
	if k, ok := pub.(interface{ Size() int }); ok {
		return k.Size()
	}
	return 0
}

// Curve returns the elliptic curve of an algorithm's keys, nil unless they are
// of type EC.
func Curve(alg jose.SignatureAlgorithm) elliptic.Curve {
	a, _ := lookupAlgorithm(alg)
	return a.curve
}

// SharesKeys reports whether two algorithms use the same kind of key, apart from
// the size of RSA keys.
func SharesKeys(alg, other jose.SignatureAlgorithm) bool {
	a, err := lookupAlgorithm(alg)
	b, worse := lookupAlgorithm(other)
	return err == nil && worse == nil && a.kty == b.kty && a.crv == b.crv && a.mldsa == b.mldsa
}

// MLDSA returns the parameter set of an algorithm's keys (FIPS 204 section 4);
// false unless they are of type AKP.
func MLDSA(alg jose.SignatureAlgorithm) (mldsa.Parameters, bool) {
	a, _ := lookupAlgorithm(alg)
	return a.mldsa, a.kty == "AKP"
}

// CheckPublic checks that an algorithm can use a public key. Errors:
// [ErrUnsupportedAlgorithm], [ErrKeyMaterial].
func CheckPublic(alg jose.SignatureAlgorithm, pub crypto.PublicKey) error {
	a, err := lookupAlgorithm(alg)
	if err != nil {
		return err
	}
	return a.checkPublic(pub)
}
