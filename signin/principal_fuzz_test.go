package signin_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks/jwkstest"
	"github.com/keyward/keyward/tenant"
)

// Only a token that the provider has signed signs in, and only somebody whose claims a rule
// names gets its role. What is kept of the claims is fit for a row and a log.
func FuzzPrincipal(f *testing.F) {
	idp := jwkstest.New(issuer, jose.RS256, jose.ES256)
	s := signIn(f, idp)
	valid := idp.Token("1", with())
	for _, token := range []string{valid, valid[:len(valid)-2], valid + "A", "..", "e30.e30.", strings.Replace(valid, ".", "..", 1), strings.Repeat("a.", 1000), "\x00"} {
		f.Add(token, "{}")
	}
	for _, claims := range []string{
		`{"groups":["keyward-admins"]}`, `{"groups":"keyward-admins"}`, `{"groups":{"keyward-admins":1}}`, `{"scope":"x keyward.read"}`, `{"realm_access":{"roles":["acme"]}}`, `{"sub":""}`, `{"sub":"a\u0000b"}`, `{"sub":7}`,
		`{"email":"\ud800"}`, `{"exp":1e400}`, `{"exp":-1}`, `{"aud":["x","keyward"]}`, `{"aud":{}}`, `{"iss":"https://id.example.com/realms/ops/"}`, `{"nbf":9999999999}`, `{"groups":["keyward-admins","keyward-admins"],"groups":[]}`, `[]`, `null`,
	} {
		f.Add("", claims)
	}
	f.Fuzz(func(t *testing.T, token, claims string) {
		if _, err := s.Principal(t.Context(), token); err == nil && token != valid {
			t.Errorf("%q signs in", token)
		}
		// Signed are the usual claims with the given ones before them.
		usual, err := json.Marshal(with("iss", issuer, "exp", time.Now().Add(time.Hour).Unix(), "iat", time.Now().Unix(), "groups", []string{"staff"}))
		if err != nil {
			t.Fatal(err)
		}
		payload := string(usual)
		if object := strings.TrimSpace(claims); json.Valid([]byte(object)) && strings.HasPrefix(object, "{") && len(object) > 2 {
			payload = object[:len(object)-1] + "," + payload[1:]
		}
		p, err := s.Principal(t.Context(), idp.Sign("1", map[string]any{"typ": "at+jwt"}, []byte(payload)))
		if err != nil {
			if !errors.Is(err, tenant.ErrUnauthenticated) && !errors.Is(err, tenant.ErrNoRole) {
				t.Errorf("%s: %v", payload, err)
			}
			return
		}
		if !strings.Contains(claims, "keyward-admins") && !strings.Contains(claims, "acme") && !strings.Contains(claims, "keyward.read") && !strings.Contains(claims, `\`) {
			t.Errorf("%s has the role %s", payload, p.Role)
		}
		if strings.ContainsFunc(p.Actor.ID, unicode.IsControl) || len(p.Actor.Name) > 1000 {
			t.Errorf("%s: %+v", payload, p.Actor)
		}
	})
}
