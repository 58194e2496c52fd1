package moving

import (
	"fmt"
	"slices"

	"github.com/keyward/keyward/keys/keyfile"
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
	case k.Public.labels().Stranger() != "":
		k.SkipReason, k.Stranger = k.Public.labels().Stranger(), true
	case k.Public.labels().Unsupported() != "":
		k.RefuseReason = k.Public.labels().Unsupported()
	case k.Public.Use != "" && k.Public.Use != "sig":
		k.RefuseReason = fmt.Sprintf("its use is %.20q: it must be sig", k.Public.Use)
	case k.only != nil && len(can) == 0:
		k.RefuseReason = keyfile.PSSNone
	case len(can) == 0:
		k.RefuseReason = k.Public.mislabelled()
	case k.Public.Alg != "":
		if k.Alg = k.Public.Alg; !slices.Contains(can, k.Alg) {
			k.RefuseReason = "its alg is not one of this type of key"
		}
	case slices.Contains(can, s.Alg):
		k.Alg = s.Alg
	case k.Public.Kty != "RSA" || k.only != nil:
		k.Alg = can[0]
	default:
		k.RefuseReason = "an RSA key without an algorithm: give --alg"
	}
}

// labels returns what the key says of its kind and purpose.
func (j JWK) labels() keyfile.Labels {
	return keyfile.Labels{KTY: j.Kty, CRV: j.Crv, Use: j.Use, Alg: j.Alg, KeyOps: j.KeyOps}
}

// mislabelled returns why a key without an algorithm is refused that is no stranger: a
// label is missing or misspelled, and the source may have signed with it.
func (j JWK) mislabelled() string {
	switch j.Kty {
	case "EC":
		return "its crv must be P-256, P-384 or P-521"
	case "OKP":
		return "its crv must be Ed25519"
	case "AKP":
		return "its alg must be ML-DSA-44, ML-DSA-65 or ML-DSA-87"
	}
	return "its kty must be EC, OKP, RSA or AKP"
}
