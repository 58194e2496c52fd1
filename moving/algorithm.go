package moving

import (
	"slices"
	"strings"
)

var rsaAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}

// postQuantum are the algorithms of keys of type AKP (RFC 9964), each of which is
// for one of them.
var postQuantum = []string{"ML-DSA-44", "ML-DSA-65", "ML-DSA-87"}

// byCurve maps curves to their algorithms (RFC 7518 section 3.4, RFC 8037
// section 3.1, RFC 9864 section 2.2), the most common one first.
var byCurve = map[string][]string{
	"P-256": {"ES256"}, "P-384": {"ES384"}, "P-521": {"ES512"},
	"Ed25519": {"EdDSA", "Ed25519"},
}

// ValidAlg reports whether Keyward supports an algorithm.
func ValidAlg(name string) bool {
	for _, curve := range byCurve {
		if slices.Contains(curve, name) {
			return true
		}
	}
	return slices.Contains(rsaAlgorithms, name) || slices.Contains(postQuantum, name)
}

// algorithms returns Keyward's algorithms for this type of key.
func (j JWK) algorithms() []string {
	if j.Kty == "RSA" {
		return rsaAlgorithms
	}
	if j.Kty == "AKP" && slices.Contains(postQuantum, j.Alg) {
		return []string{j.Alg}
	}
	if j.Kty == "EC" || j.Kty == "OKP" {
		return byCurve[j.Crv]
	}
	return nil
}

// chooseAlgorithm sets the key's algorithm, or the reason for not importing it.
func (k *Key) chooseAlgorithm(s Settings) {
	can := k.Public.algorithms()
	if k.only != nil {
		can = k.only
	}
	switch {
	case k.SkipReason != "" || k.RefuseReason != "":
	case k.Public.Kty == "oct":
		k.SkipReason = "a shared secret: Keyward supports key pairs only"
	case k.Public.isForEncryption():
		k.SkipReason = "is for encryption, not for signatures"
	case len(can) == 0:
		k.SkipReason = "Keyward has no algorithm for this type of key"
	case k.Public.Alg != "":
		if k.Alg = k.Public.Alg; !slices.Contains(can, k.Alg) {
			k.RefuseReason = "its alg is not supported for this type of key"
		}
	case slices.Contains(can, s.Alg):
		k.Alg = s.Alg
	case k.Public.Kty != "RSA" || k.only != nil:
		k.Alg = can[0]
	default:
		k.RefuseReason = "an RSA key without an algorithm: give --alg"
	}
}

// isForEncryption reports whether use, key_ops or alg of a JWK exclude
// signatures.
func (j JWK) isForEncryption() bool {
	signs := slices.Contains(j.KeyOps, "sign") || slices.Contains(j.KeyOps, "verify")
	return j.Use != "" && j.Use != "sig" || len(j.KeyOps) > 0 && !signs ||
		strings.HasPrefix(j.Alg, "RSA-OAEP") || strings.HasPrefix(j.Alg, "ECDH-ES") || j.Alg == "RSA1_5"
}
