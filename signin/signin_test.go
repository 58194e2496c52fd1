package signin_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/jwks/jwkstest"
	"github.com/keyward/keyward/signin"
	"github.com/keyward/keyward/tenant"
)

const issuer = "https://id.example.com/realms/ops"

var acme = uuid.MustParse("019ab4c2-7a10-7c3e-9d52-2f1f6f0f3a11")

func resolve(_ context.Context, slug string) (uuid.UUID, error) {
	if slug == "acme" {
		return acme, nil
	}
	return uuid.Nil, tenant.ErrNotFound
}

func signIn(t testing.TB, idp *jwkstest.Issuer) *signin.SignIn {
	t.Helper()
	roles, err := signin.ParseMapping("groups=keyward-admins:platform_admin, realm_access.roles=acme:tenant_admin@acme, groups=gone:tenant_admin@gone, " +
		"https://acme.example/role=a=b:c@d:tenant_signer@acme, scope=keyward.read:platform_auditor")
	if err != nil {
		t.Fatal(err)
	}
	s, err := signin.New(signin.Config{
		Issuer: issuer, Audience: []string{"keyward"}, Algorithms: []jose.SignatureAlgorithm{jose.RS256, jose.ES256},
		Roles: roles, Resolve: resolve, HTTPClient: idp.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// with returns the claims of a valid token, changed by the given ones.
func with(pairs ...any) jwkstest.Claims {
	c := jwkstest.Claims{"aud": "keyward", "sub": "u-1", "preferred_username": "alice", "groups": []string{"staff", "keyward-admins"}}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i].(string)] = pairs[i+1]
	}
	return c
}

func TestPrincipal(t *testing.T) {
	idp := jwkstest.New(issuer, jose.RS256, jose.ES256)
	s := signIn(t, idp)
	for name, c := range map[string]struct {
		claims jwkstest.Claims
		role   tenant.Role
		of     *uuid.UUID
		named  string
	}{
		"a list":               {with(), tenant.PlatformAdmin, nil, "alice"},
		"a text":               {with("groups", "keyward-admins"), tenant.PlatformAdmin, nil, "alice"},
		"a path":               {with("groups", nil, "realm_access", map[string]any{"roles": []any{1, "acme"}}), tenant.TenantAdmin, &acme, "alice"},
		"a name with dots":     {with("groups", nil, "https://acme.example/role", "a=b:c@d"), tenant.TenantSigner, &acme, "alice"},
		"a scope":              {with("groups", nil, "scope", "openid keyward.read"), tenant.PlatformAuditor, nil, "alice"},
		"the first rule wins":  {with("groups", []string{"gone", "keyward-admins"}), tenant.PlatformAdmin, nil, "alice"},
		"the audience in many": {with("aud", []string{"other", "keyward"}), tenant.PlatformAdmin, nil, "alice"},
		"an email":             {with("preferred_username", nil, "email", "a@example.com"), tenant.PlatformAdmin, nil, "a@example.com"},
		"a subject":            {with("preferred_username", 7), tenant.PlatformAdmin, nil, "u-1"},
	} {
		for _, kid := range []string{"1", "2"} {
			p, err := s.Principal(t.Context(), idp.Token(kid, c.claims))
			if err != nil || p.Role != c.role || (p.TenantID == nil) != (c.of == nil) || c.of != nil && *p.TenantID != *c.of ||
				p.Actor != (audit.Actor{Type: audit.ActorOIDC, ID: issuer + "#u-1", Name: c.named}) {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
		}
	}
}

func TestNoRole(t *testing.T) {
	idp := jwkstest.New(issuer, jose.RS256)
	s := signIn(t, idp)
	for name, c := range map[string]jwkstest.Claims{
		"none": with("groups", nil), "another": with("groups", "keyward-admins2"), "an object": with("groups", map[string]any{"keyward-admins": true}),
		"a number": with("groups", 1), "a list in a text": with("groups", "staff keyward-admins"), "a path through a text": with("groups", nil, "realm_access", "roles"),
		"a tenant that is gone": with("groups", "gone"), "null": with("groups", []any{nil}),
	} {
		if p, err := s.Principal(t.Context(), idp.Token("1", c)); !errors.Is(err, tenant.ErrNoRole) || p != (tenant.Principal{}) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestRefusedTokens(t *testing.T) {
	idp, other := jwkstest.New(issuer, jose.RS256, jose.ES256, jose.PS256), jwkstest.New(issuer, jose.RS256)
	other.Add("forged", jose.RS256)
	s := signIn(t, idp)
	good := idp.Token("1", with())
	if _, err := s.Principal(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	hmac, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: idp.JWKS()}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	confused, err := hmac.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	symmetric, _ := confused.CompactSerialize()
	past := time.Now().Add(-time.Minute).Unix()
	for name, token := range map[string]string{
		"expired": idp.Token("1", with("exp", past)), "without an end": idp.Token("1", with("exp", nil)),
		"not yet valid":  idp.Token("1", with("nbf", time.Now().Add(time.Hour).Unix())),
		"wrong audience": idp.Token("1", with("aud", "other")), "no audience": idp.Token("1", with("aud", nil)),
		"wrong issuer": idp.Token("1", with("iss", issuer+"/")), "no issuer": idp.Token("1", with("iss", nil)),
		"no subject": idp.Token("1", with("sub", nil)), "an empty subject": idp.Token("1", with("sub", "")),
		"a long subject": idp.Token("1", with("sub", strings.Repeat("x", 256))), "a subject of two lines": idp.Token("1", with("sub", "a\nb")),
		"an algorithm that is not accepted": idp.Token("3", with()), "another's key of this kid": other.Token("1", with()), "a forged kid": other.Token("forged", with()),
		"none": unsigned, "HMAC with the public key": symmetric, "another signature": parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
		"an ID token": idp.Token("1", with("at_hash", "x")), "Keycloak's ID token": idp.Token("1", with("typ", "ID")), "Keycloak's refresh token": idp.Token("1", with("typ", "Refresh")),
		"a logout token": idp.Sign("1", map[string]any{"typ": "logout+jwt"}, payload), "rubbish": "a.b.c",
	} {
		if p, err := s.Principal(t.Context(), token); !errors.Is(err, tenant.ErrUnauthenticated) || p != (tenant.Principal{}) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := s.Principal(t.Context(), idp.Sign("1", map[string]any{"typ": "at+jwt"}, payload)); err != nil {
		t.Errorf("an access token of RFC 9068: %v", err)
	}
}

// A valid token is not reported as invalid if the issuer is unavailable.
func TestIssuerAway(t *testing.T) {
	idp := jwkstest.New(issuer, jose.RS256)
	idp.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	s := signIn(t, idp)
	if _, err := s.Principal(t.Context(), idp.Token("1", with())); !errors.Is(err, tenant.ErrNoIdentityProvider) || errors.Is(err, tenant.ErrUnauthenticated) {
		t.Errorf("%v", err)
	}
}

func TestBadIssuers(t *testing.T) {
	for _, text := range []string{"", "id.example.com", "http://id.example.com", "https://", "https://id.example.com?x", "https://id.example.com#x", "https://u:p@id.example.com", "ftp://localhost"} {
		if signin.CheckIssuer(text) == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	for _, text := range []string{"https://id.example.com", "http://localhost:8080/x", "http://127.0.0.1:1", "http://[::1]:1"} {
		if err := signin.CheckIssuer(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
