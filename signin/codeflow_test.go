package signin_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/jwks/jwkstest"
	"github.com/keyward/keyward/signin"
	"github.com/keyward/keyward/tenant"
)

// tokenEndpoint is a provider whose answers a test writes.
type tokenEndpoint struct {
	idp      *jwkstest.Issuer
	metadata map[string]any
	status   int
	answer   map[string]any
	asked    *http.Request // with its form
}

func newTokenEndpoint() *tokenEndpoint {
	return &tokenEndpoint{
		idp:      jwkstest.New(issuer, jose.RS256),
		metadata: map[string]any{"issuer": issuer, "authorization_endpoint": "https://id.example.com/auth?realm=ops", "token_endpoint": "https://id.example.com/token"},
		status:   http.StatusOK,
	}
}

// RoundTrip implements [http.RoundTripper].
func (e *tokenEndpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	switch {
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") && e.metadata != nil:
		e.metadata["jwks_uri"] = e.idp.JWKSURL()
		_ = json.NewEncoder(w).Encode(e.metadata)
	case r.URL.Path == "/token":
		_ = r.ParseForm()
		e.asked = r
		w.WriteHeader(e.status)
		_ = json.NewEncoder(w).Encode(e.answer)
	default:
		e.idp.ServeHTTP(w, r)
	}
	return w.Result(), nil
}

func (e *tokenEndpoint) flow(t *testing.T, cfg signin.CodeFlowConfig) *signin.CodeFlow {
	t.Helper()
	roles, err := signin.ParseMapping("groups=keyward-admins:platform_admin,groups=auditors:platform_auditor")
	if err != nil {
		t.Fatal(err)
	}
	s, err := signin.New(signin.Config{Issuer: issuer, Audience: []string{"keyward"}, Roles: roles, Resolve: resolve, HTTPClient: &http.Client{Transport: e}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.ClientID = "console"
	f, err := signin.NewCodeFlow(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// identity returns the claims of a valid ID token, changed by the given ones.
func identity(pairs ...any) jwkstest.Claims {
	c := with("aud", "console", "nonce", "n", "groups", "auditors", "at_hash", "x", "typ", "ID")
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i].(string)] = pairs[i+1]
	}
	return c
}

func TestAuthorizeURL(t *testing.T) {
	f := newTokenEndpoint().flow(t, signin.CodeFlowConfig{Scopes: []string{"groups"}})
	address, err := f.AuthorizeURL(t.Context(), "https://keys.example.com/console/oidc/callback", "s", "n", "c")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"realm": "ops", "response_type": "code", "client_id": "console", "redirect_uri": "https://keys.example.com/console/oidc/callback", "scope": "openid groups",
		"state": "s", "nonce": "n", "code_challenge": "c", "code_challenge_method": "S256",
	} {
		if got := u.Query().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if f.Name() != "id.example.com" {
		t.Errorf("the provider is called %q", f.Name())
	}
}

// The role is that of the access token where that is for Keyward, and that of the ID token
// otherwise.
func TestCodeFlowRoles(t *testing.T) {
	for name, c := range map[string]struct {
		access func(*jwkstest.Issuer) string
		id     jwkstest.Claims
		role   tenant.Role
		err    error
	}{
		"an access token for Keyward":  {func(i *jwkstest.Issuer) string { return i.Token("1", with()) }, identity(), tenant.PlatformAdmin, nil},
		"an opaque access token":       {func(*jwkstest.Issuer) string { return "opaque" }, identity(), tenant.PlatformAuditor, nil},
		"an access token for others":   {func(i *jwkstest.Issuer) string { return i.Token("1", with("aud", "other")) }, identity(), tenant.PlatformAuditor, nil},
		"somebody else's access token": {func(i *jwkstest.Issuer) string { return i.Token("1", with("sub", "u-2")) }, identity(), tenant.PlatformAuditor, nil},
		"an access token without role": {func(i *jwkstest.Issuer) string { return i.Token("1", with("groups", "staff")) }, identity(), tenant.PlatformAuditor, nil},
		"no role at all":               {func(*jwkstest.Issuer) string { return "" }, identity("groups", "staff"), "", tenant.ErrNoRole},
	} {
		e := newTokenEndpoint()
		e.answer = map[string]any{"access_token": c.access(e.idp), "id_token": e.idp.Token("1", c.id), "expires_in": 600}
		p, until, err := e.flow(t, signin.CodeFlowConfig{}).Exchange(t.Context(), "https://keys.example.com/cb", "code", "verifier", "n")
		if !errors.Is(err, c.err) || p.Role != c.role || c.err == nil && p.Actor != (audit.Actor{Type: audit.ActorOIDC, ID: issuer + "#u-1", Name: "alice"}) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if left := time.Until(until); left < 9*time.Minute || left > 10*time.Minute {
			t.Errorf("%s: valid for %s", name, left)
		}
	}
}

func TestRefusedCodes(t *testing.T) {
	good := newTokenEndpoint()
	other := jwkstest.New(issuer, jose.RS256)
	for name, change := range map[string]func(*tokenEndpoint){
		"another sign-in's nonce": func(e *tokenEndpoint) { e.answer["id_token"] = e.idp.Token("1", identity("nonce", "m")) },
		"no nonce":                func(e *tokenEndpoint) { e.answer["id_token"] = e.idp.Token("1", identity("nonce", nil)) },
		"another client":          func(e *tokenEndpoint) { e.answer["id_token"] = e.idp.Token("1", identity("aud", "other")) },
		"two audiences": func(e *tokenEndpoint) {
			e.answer["id_token"] = e.idp.Token("1", identity("aud", []string{"console", "other"}))
		},
		"another party": func(e *tokenEndpoint) { e.answer["id_token"] = e.idp.Token("1", identity("azp", "other")) },
		"another issuer": func(e *tokenEndpoint) {
			e.answer["id_token"] = e.idp.Token("1", identity("iss", "https://evil.example"))
		},
		"another key": func(e *tokenEndpoint) { e.answer["id_token"] = other.Token("1", identity()) },
		"an old one": func(e *tokenEndpoint) {
			e.answer["id_token"] = e.idp.Token("1", identity("exp", time.Now().Add(-time.Hour).Unix()))
		},
		"a used code": func(e *tokenEndpoint) {
			e.status, e.answer = http.StatusBadRequest, map[string]any{"error": "invalid_grant"}
		},
	} {
		e := newTokenEndpoint()
		e.idp = good.idp
		e.answer = map[string]any{"id_token": e.idp.Token("1", identity())}
		f := e.flow(t, signin.CodeFlowConfig{})
		if _, _, err := f.Exchange(t.Context(), "https://keys.example.com/cb", "code", "verifier", "n"); err != nil {
			t.Fatal(err)
		}
		change(e)
		if p, _, err := f.Exchange(t.Context(), "https://keys.example.com/cb", "code", "verifier", "n"); !errors.Is(err, tenant.ErrUnauthenticated) || p != (tenant.Principal{}) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// An authorization response says whose it is (RFC 9207): another's code is not redeemed.
func TestResponsesOfAnotherProvider(t *testing.T) {
	for _, c := range []struct {
		iss     string
		names   bool // whether the provider says that it names itself
		refused bool
	}{{"", false, false}, {issuer, false, false}, {issuer, true, false}, {"https://evil.example", false, true}, {issuer + "/", true, true}, {"", true, true}} {
		e := newTokenEndpoint()
		e.metadata["authorization_response_iss_parameter_supported"] = c.names
		if err := e.flow(t, signin.CodeFlowConfig{}).CheckResponse(t.Context(), c.iss); errors.Is(err, tenant.ErrUnauthenticated) != c.refused {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// What is the operator's fault, or the provider's, is not that of the person.
func TestCodeFlowWithoutProvider(t *testing.T) {
	for name, change := range map[string]func(*tokenEndpoint){
		"no metadata":          func(e *tokenEndpoint) { e.metadata = nil },
		"another's metadata":   func(e *tokenEndpoint) { e.metadata["issuer"] = "https://evil.example" },
		"a plain endpoint":     func(e *tokenEndpoint) { e.metadata["token_endpoint"] = "http://id.example.com/token" },
		"no endpoint":          func(e *tokenEndpoint) { delete(e.metadata, "authorization_endpoint") },
		"a wrong secret":       func(e *tokenEndpoint) { e.status, e.answer = 401, map[string]any{"error": "invalid_client"} },
		"a broken endpoint":    func(e *tokenEndpoint) { e.status = http.StatusBadGateway },
		"no ID token":          func(e *tokenEndpoint) { delete(e.answer, "id_token") },
		"an answer in words":   func(e *tokenEndpoint) { e.answer = nil },
		"a redirect elsewhere": func(e *tokenEndpoint) { e.status = http.StatusTemporaryRedirect },
	} {
		e := newTokenEndpoint()
		e.answer = map[string]any{"id_token": e.idp.Token("1", identity())}
		change(e)
		f := e.flow(t, signin.CodeFlowConfig{ClientSecret: "hunter2"})
		if _, _, err := f.Exchange(t.Context(), "https://keys.example.com/cb", "code", "verifier", "n"); !errors.Is(err, tenant.ErrNoIdentityProvider) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The secret goes where the provider wants it, and never without need.
func TestClientAuthentication(t *testing.T) {
	const secret = "p:ss wörd"
	for name, c := range map[string]struct {
		methods []string
		secret  string
		basic   string
		inBody  bool
	}{
		"by default":  {nil, secret, url.QueryEscape(secret), false},
		"basic":       {[]string{"client_secret_post", "client_secret_basic"}, secret, url.QueryEscape(secret), false},
		"in the body": {[]string{"client_secret_post"}, secret, "", true},
		"public":      {nil, "", "", false},
	} {
		e := newTokenEndpoint()
		if c.methods != nil {
			e.metadata["token_endpoint_auth_methods_supported"] = c.methods
		}
		e.answer = map[string]any{"id_token": e.idp.Token("1", identity())}
		if _, _, err := e.flow(t, signin.CodeFlowConfig{ClientSecret: c.secret}).Exchange(t.Context(), "https://keys.example.com/cb", "code", "verifier", "n"); err != nil {
			t.Fatal(name, err)
		}
		_, basic, _ := e.asked.BasicAuth()
		if basic != c.basic || (e.asked.PostForm.Get("client_secret") == secret) != c.inBody || e.asked.PostForm.Get("code_verifier") != "verifier" {
			t.Errorf("%s: basic %q, form %v", name, basic, e.asked.PostForm)
		}
	}
}
