package console

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/keyward/keyward/client"
)

// readSet reads the JWK Set by the path that verifiers use.
func (p *verifiersPage) readSet(ctx context.Context, v *visit) error {
	resp, err := v.api.Requests.GetJWKS(ctx, v.Tenant.Slug, nil)
	text, err := client.Bytes(resp, err)
	if err != nil {
		return err
	}
	for _, name := range []string{"Content-Type", "Cache-Control", "ETag", "Last-Modified", "Access-Control-Allow-Origin"} {
		if value := resp.Header.Get(name); value != "" {
			p.Header = append(p.Header, name+": "+value)
		}
	}
	var set struct{ Keys []jwk }
	var pretty bytes.Buffer
	if json.Unmarshal(text, &set) == nil && json.Indent(&pretty, text, "", "  ") == nil {
		p.Keys, p.JWKS = set.Keys, pretty.String()
	}
	return nil
}

// snippet sets one verifier up. Code is shown as it is, nothing of it is run.
type snippet struct{ ID, Name, Code string }

// snippets fills in the tenant's issuer, JWKS and algorithm.
func snippets(p verifiersPage) []snippet {
	fill := strings.NewReplacer("ISSUER", p.Issuer, "JWKS", p.URL, "ALG", p.Alg, "AUDIENCE", "https://api.example.com").Replace
	return []snippet{
		{"go", "Go: keyward/jwks", fill(`v, err := jwks.NewVerifier(jwks.VerifierConfig{
	Issuer:     "ISSUER",
	Audience:   []string{"AUDIENCE"},
	Algorithms: []jose.SignatureAlgorithm{jose.ALG},
	Keys:       jwks.Config{URI: "JWKS"},
})
// handle err
token, err := v.Verify(ctx, bearer)`)},
		{"node", "Node.js: jose", fill(`import { createRemoteJWKSet, jwtVerify } from "jose";

const keys = createRemoteJWKSet(new URL("JWKS"));
const { payload } = await jwtVerify(token, keys, {
  issuer: "ISSUER",
  audience: "AUDIENCE",
  algorithms: ["ALG"],
});`)},
		{"python", "Python: PyJWT", fill(`import jwt

keys = jwt.PyJWKClient("JWKS", lifespan=300)
claims = jwt.decode(
    token,
    keys.get_signing_key_from_jwt(token).key,
    algorithms=["ALG"],
    issuer="ISSUER",
    audience="AUDIENCE",
)`)},
		{"spring", "Java: Spring Security", fill(`spring.security.oauth2.resourceserver.jwt.jwk-set-uri=JWKS
spring.security.oauth2.resourceserver.jwt.issuer-uri=ISSUER
spring.security.oauth2.resourceserver.jwt.jws-algorithms=ALG
spring.security.oauth2.resourceserver.jwt.audiences=AUDIENCE`)},
		{"envoy", "Envoy: jwt_authn", fill(`providers:
  keyward:
    issuer: ISSUER
    audiences: [AUDIENCE]
    remote_jwks:
      http_uri: {uri: "JWKS", cluster: keyward, timeout: 5s}
      cache_duration: 300s
      async_fetch: {}`)},
		{"curl", "curl", fill(`curl -fsS "JWKS"`)},
	}
}
