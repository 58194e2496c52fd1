package httpapi

import (
	"encoding/base64"
	"fmt"

	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// Sizes in bytes that others impose or that are estimated.
const (
	largestSet  = 51_200 // of a JWK Set, by Nimbus (Spring Security)
	headerLine  = 8 << 10
	tokenBeside = 120 // header and claims of a token: few have less
	jwkBeside   = 110 // members of a JWK beside pub
)

// policyWarnings returns what verifiers and proxies may not be able to take if the
// tenant signs by this policy. Only post-quantum keys and tokens (RFC 9964) are that
// large.
func policyWarnings(p tenant.Policy) (warnings []string) {
	params, is := keys.MLDSA(p.Alg)
	if !is {
		return nil
	}
	token := tokenBeside + base64.RawURLEncoding.EncodedLen(params.SignatureSize())
	warnings = append(warnings,
		fmt.Sprintf("A token by %s has %.1f kB and more: with cookies and other fields a request soon exceeds the %d kB that proxies and servers take as header, and some take 4 kB.",
			p.Alg, float64(token)/1000, headerLine>>10),
		"Verifiers that do not know RFC 9964 refuse the tokens: keep another algorithm as default until all accept this one. Most skip the keys; some, as the Kubernetes API server, auth0/go-jwt-middleware 2.3 and by default lestrrat-go/jwx 3.3, refuse a JWK Set that has them, and need a tenant without.")
	jwk := jwkBeside + base64.RawURLEncoding.EncodedLen(params.PublicKeySize())
	if set := jwk * p.MaxPublishedKeys; set > largestSet {
		warnings = append(warnings, fmt.Sprintf("max_published_keys allows a JWK Set of %d kB; Nimbus (Spring Security) refuses more than %d kB: at most %s fit.",
			set>>10, largestSet>>10, plural.Count(largestSet/jwk, "key")))
	}
	return warnings
}
