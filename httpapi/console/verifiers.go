package console

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/docs"
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
type snippet struct{ ID, Name, Note, Code string }

// The values of a tenant in examples.
const (
	exampleIssuer   = "https://keys.example.com/t/acme"
	exampleJWKS     = exampleIssuer + "/.well-known/jwks.json"
	exampleAudience = "https://api.example.com"
	exampleAlg      = "ES256"
)

// ownExamples are not in docs/verifiers.md: the package of this module, and what
// its tests cannot run.
var ownExamples = []snippet{
	{ID: "go", Name: "Go: keyward/jwks", Code: `v, err := jwks.NewVerifier(jwks.VerifierConfig{
	Issuer:     "` + exampleIssuer + `",
	Audience:   []string{"` + exampleAudience + `"},
	Algorithms: []jose.SignatureAlgorithm{"` + exampleAlg + `"},
	Keys:       jwks.Config{URI: "` + exampleJWKS + `"},
})
// handle err
token, err := v.Verify(ctx, bearer)`},
	{ID: "curl", Name: "curl", Code: `curl -fsS "` + exampleJWKS + `"`},
	{ID: "spring", Name: "Java: Spring Security", Code: `spring.security.oauth2.resourceserver.jwt.jwk-set-uri=` + exampleJWKS + `
spring.security.oauth2.resourceserver.jwt.issuer-uri=` + exampleIssuer + `
spring.security.oauth2.resourceserver.jwt.jws-algorithms=` + exampleAlg + `
spring.security.oauth2.resourceserver.jwt.audiences=` + exampleAudience},
	{ID: "envoy", Name: "Envoy: jwt_authn", Code: `providers:
  keyward:
    issuer: ` + exampleIssuer + `
    audiences: [` + exampleAudience + `]
    remote_jwks:
      http_uri: {uri: "` + exampleJWKS + `", cluster: keyward, timeout: 5s}
      cache_duration: 300s
      async_fetch: {}`},
}

// documentedExample matches a heading, a line about the verifier and its code.
var documentedExample = regexp.MustCompile("(?ms)^### ([^\n]+)\n\n([^\n]+)\n\n```[a-z]+\n(.*?)\n```$")

// examples are those of this file and of docs/verifiers.md.
var examples = sync.OnceValue(func() []snippet {
	all := slices.Clone(ownExamples)
	for _, m := range documentedExample.FindAllStringSubmatch(docs.Verifiers, -1) {
		all = append(all, snippet{ID: exampleID(m[1]), Name: m[1], Note: m[2], Code: m[3]})
	}
	return all
})

// exampleID is a name in lower case with hyphens.
func exampleID(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') })
	return strings.Join(words, "-")
}

// snippets fills in the tenant's issuer, JWKS and algorithm.
func snippets(p verifiersPage) []snippet {
	fill := strings.NewReplacer(exampleJWKS, p.URL, exampleIssuer, p.Issuer, exampleAlg, p.Alg)
	all := slices.Clone(examples())
	for i := range all {
		all[i].Code = fill.Replace(all[i].Code)
	}
	return all
}
