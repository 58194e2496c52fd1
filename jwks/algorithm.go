package jwks

import (
	"crypto"
	"crypto/mldsa"
	_ "crypto/sha256" // for RS256 and the like
	_ "crypto/sha512"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Ed25519 is the name that RFC 9864 section 2.2 gives what RFC 8037 calls EdDSA
// over the curve Ed25519. Both names are understood, as one algorithm.
const Ed25519 = jose.SignatureAlgorithm("Ed25519")

// algorithm is a row of RFC 7518 section 3.1, RFC 8037 section 3.1, RFC 9864 or RFC
// 9964.
type algorithm struct {
	name  jose.SignatureAlgorithm
	kty   string
	curve string      // for EC and OKP; for AKP the parameter set
	hash  crypto.Hash // 0 where the message itself is signed
	size  int         // of a signature, in bytes; 0 for RSA
	pss   bool
}

// The symmetric algorithms and "none" are not here, and so never accepted.
var algorithms = []*algorithm{
	{name: jose.RS256, kty: "RSA", hash: crypto.SHA256},
	{name: jose.RS384, kty: "RSA", hash: crypto.SHA384},
	{name: jose.RS512, kty: "RSA", hash: crypto.SHA512},
	{name: jose.PS256, kty: "RSA", hash: crypto.SHA256, pss: true},
	{name: jose.PS384, kty: "RSA", hash: crypto.SHA384, pss: true},
	{name: jose.PS512, kty: "RSA", hash: crypto.SHA512, pss: true},
	{name: jose.ES256, kty: "EC", curve: "P-256", hash: crypto.SHA256, size: 64},
	{name: jose.ES384, kty: "EC", curve: "P-384", hash: crypto.SHA384, size: 96},
	{name: jose.ES512, kty: "EC", curve: "P-521", hash: crypto.SHA512, size: 132},
	{name: jose.EdDSA, kty: "OKP", curve: "Ed25519", size: 64},
	{name: Ed25519, kty: "OKP", curve: "Ed25519", size: 64},
	{name: jose.MLDSA44, kty: "AKP", curve: "ML-DSA-44", size: mldsa.MLDSA44SignatureSize},
	{name: jose.MLDSA65, kty: "AKP", curve: "ML-DSA-65", size: mldsa.MLDSA65SignatureSize},
	{name: jose.MLDSA87, kty: "AKP", curve: "ML-DSA-87", size: mldsa.MLDSA87SignatureSize},
}

// algorithmByName returns the algorithm that has that name in a header or key, or
// nil.
func algorithmByName[S ~string | ~[]byte](name S) *algorithm {
	for _, a := range algorithms {
		if string(name) == string(a.name) {
			return a
		}
	}
	return nil
}

// defaultAlgorithm returns the algorithm of a key that names none: RS256 for RSA,
// else the only one its curve has. It is nil for other types.
func defaultAlgorithm(kty, curve string) *algorithm {
	i := slices.IndexFunc(algorithms, func(a *algorithm) bool { return a.kty == kty && a.curve == curve })
	if i < 0 {
		return nil
	}
	return algorithms[i]
}

// isSame reports whether a and b are one algorithm, perhaps under two names.
func (a *algorithm) isSame(b *algorithm) bool {
	return a == b || a.kty == "OKP" && b.kty == "OKP" && a.curve == b.curve
}
