package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys"
)

// Limits of verifiers for a JWK Set.
const (
	nimbusMaxBytes  = 51_200 // limit of Nimbus, used by Spring Security
	gatewayMaxKeys  = 50     // limit of some gateways
	keyCountWarning = 16     // Keyward's default for a policy
)

// jwk has the members of one key of a set.
type jwk map[string]any

func (k jwk) text(name string) string {
	s, _ := k[name].(string)
	return s
}

// examineSet checks a JWK Set as verifiers parse it.
func examineSet(body []byte) (keys []jwk, findings []finding) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return nil, []finding{newFinding(failure, "JWK Set", `is not a JSON object with "keys": no verifier can read it; does another service answer at jwks_uri?`)}
	}
	keys = set.Keys
	switch {
	case len(keys) == 0:
		findings = append(findings, newFinding(failure, "JWK Set", "has no keys: no token can be verified; is a worker running?"))
	case len(body) > nimbusMaxBytes:
		findings = append(findings, newFinding(failure, "JWK Set", "has %d bytes; Nimbus (Spring Security) refuses more than %d: lower max_published_keys or the grace period, or use ES256 instead of RSA or ML-DSA", len(body), nimbusMaxBytes))
	case len(keys) > gatewayMaxKeys:
		findings = append(findings, newFinding(failure, "JWK Set", "has %s; some gateways refuse more than %d: lower max_published_keys", plural.Count(len(keys), "key"), gatewayMaxKeys))
	case len(keys) > keyCountWarning:
		findings = append(findings, newFinding(warning, "JWK Set", "has %s; every verifier fetches them all: shorten the grace period or lengthen the rotation interval", plural.Count(len(keys), "key")))
	default:
		findings = append(findings, newFinding(fine, "JWK Set", "%s in %d bytes", plural.Count(len(keys), "key"), len(body)))
	}
	seen := map[string][]jwk{}
	for i, k := range keys {
		name := k.text("kid")
		switch {
		case name == "":
			name = fmt.Sprintf("number %d", i+1)
			findings = append(findings, newFinding(failure, "kid", "key %s has none: with several keys verifiers cannot choose", name))
		case slices.ContainsFunc(seen[name], func(other jwk) bool { return !k.isTwinOf(other) }):
			findings = append(findings, newFinding(failure, "kid", "%s occurs twice: verifiers may choose either", name))
		}
		seen[name] = append(seen[name], k)
		findings = append(findings, examineKey(name, k)...)
	}
	return keys, findings
}

// isTwinOf reports whether two JWKs are one key for different algorithms: a verifier that
// chooses either by kid has the right key.
func (k jwk) isTwinOf(other jwk) bool {
	for _, member := range []string{"kty", "crv", "x", "y", "n", "e", "pub"} {
		if k.text(member) != other.text(member) {
			return false
		}
	}
	return k.text("alg") != other.text("alg")
}

// privateMembers are defined in RFC 7518 sections 6.2.2, 6.3.2 and 6.4, and RFC
// 8037.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// examineKey checks one key. It returns only warnings and failures.
func examineKey(name string, k jwk) (findings []finding) {
	for _, member := range privateMembers {
		if _, there := k[member]; there {
			findings = append(findings, newFinding(failure, "private key", "key %s has %q: anybody can sign with it; revoke it as compromised at once", name, member))
		}
	}
	if use := k.text("use"); use != "sig" {
		findings = append(findings, newFinding(warning, "use", "key %s has use %q instead of \"sig\": some verifiers skip the key", name, use))
	}
	if k.text("alg") == "" {
		findings = append(findings, newFinding(warning, "alg", "key %s has none: verifiers guess by its type", name))
	}
	if params, known := keys.MLDSA(jose.SignatureAlgorithm(k.text("alg"))); known {
		findings = append(findings, newFinding(warning, "alg", "key %s is %s (RFC 9964): its signatures of %d bytes make tokens of %.1f kB and more, and proxies and servers refuse header lines above 8 kB, some above 4 kB; verifiers without RFC 9964 skip the key, and some (the Kubernetes API server, auth0/go-jwt-middleware 2.3, lestrrat-go/jwx 3.3 by default) refuse the whole set", name, k.text("alg"), params.SignatureSize(), float64(smallestToken(params.SignatureSize()))/1000))
	}
	if k.text("alg") == "Ed25519" {
		findings = append(findings, newFinding(warning, "alg", "key %s is labelled Ed25519 (RFC 9864); verifiers released before 2026, such as jwks-rsa's middleware, support EdDSA only", name))
	}
	return append(findings, examineMaterial(name, k)...)
}

// smallestToken returns the length in bytes of a token with a signature of that many
// bytes: header and claims are rarely below 120.
func smallestToken(signature int) int { return 120 + base64.RawURLEncoding.EncodedLen(signature) }

// coordinates are the lengths in bytes of RFC 7518 section 6.2.1.2 and RFC
// 8037.
var coordinates = map[string]int{"P-256": 32, "P-384": 48, "P-521": 66, "Ed25519": 32}

func examineMaterial(name string, k jwk) []finding {
	size := func(member string) int {
		raw, err := base64.RawURLEncoding.DecodeString(k.text(member))
		if err != nil {
			return -1
		}
		return len(raw)
	}
	want := coordinates[k.text("crv")]
	params, isMLDSA := keys.MLDSA(jose.SignatureAlgorithm(k.text("alg")))
	switch kty := k.text("kty"); {
	case kty == "RSA" && size("n") < 256:
		return []finding{newFinding(failure, "key size", "key %s has %d bits; RFC 7518 section 3.3 requires at least 2048, and verifiers enforce it", name, 8*max(0, size("n")))}
	case kty == "RSA" && size("e") > 0, kty == "EC" && want > 0 && size("x") == want && size("y") == want, kty == "OKP" && want > 0 && size("x") == want:
		return nil
	case kty == "AKP" && isMLDSA && size("pub") == params.PublicKeySize():
		return nil
	case !slices.Contains([]string{"RSA", "EC", "OKP"}, kty) && !isMLDSA:
		return []finding{newFinding(warning, "kty", "key %s is of type %q, which many verifiers skip", name, kty)}
	}
	return []finding{newFinding(failure, "key", "key %s is not a valid %s key (%s): verifiers skip it or refuse the whole set", name, k.text("kty"), strings.Join(slices.Sorted(maps.Keys(k)), ", "))}
}
