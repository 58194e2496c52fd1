package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// internet leads every name to one server that serves the public paths by TLS, as
// the DNS records of tenants' domains do.
func (w *world) internet() *http.Client {
	w.t.Helper()
	server := httptest.NewTLSServer(w.server.Public())
	w.t.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.ServerName = "example.com" // which the certificate is for
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// trusting is a relying party that is told an issuer and nothing else.
func (w *world) trusting(issuer string, types ...string) *jwks.Verifier {
	w.t.Helper()
	v, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: issuer, AnyAudience: true, Algorithms: []jose.SignatureAlgorithm{jose.ES256}, Types: types, NoExpiry: types != nil,
		Keys: jwks.Config{HTTPClient: w.internet()},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

const alice = `{"claims":{"sub":"alice"}}`

// Who is told only the issuer finds the keys on the tenant's own domain, by
// discovery, and accepts what is signed here: that tenant's tokens and nobody
// else's.
func TestVerifiersFindATenantsOwnDomain(t *testing.T) {
	w := newWorld(t)
	for slug, issuer := range map[string]string{
		"acme": "https://id.acme.example", "port": "https://id.port.example:8443", "below": "https://id.below.example/x", "other": "https://id.other.example",
	} {
		domain := "id." + slug + ".example"
		w.do("POST", "/v1/tenants", w.root, `{"slug":"`+slug+`","custom_domain":"`+domain+`","issuer":"`+issuer+`"}`).ok(201)
	}
	acme := w.trusting("https://id.acme.example")
	before := w.sign("acme", alice).Token
	got, err := acme.Verify(t.Context(), before)
	if err != nil || got.Issuer != "https://id.acme.example" || got.Subject != "alice" {
		t.Fatalf("%+v %v", got, err)
	}
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).ok(200)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).ok(200) // by now with a key that the verifier has not seen
	for when, raw := range map[string]string{"before": before, "after": w.sign("acme", alice).Token} {
		if _, err := acme.Verify(t.Context(), raw); err != nil {
			t.Errorf("signed %s the rotations: %v", when, err)
		}
	}
	if _, err := acme.Verify(t.Context(), w.sign("other", alice).Token); !errors.Is(err, jwks.ErrToken) {
		t.Errorf("another tenant's token: %v", err)
	}
	for slug, issuer := range map[string]string{"other": "https://id.other.example", "port": "https://id.port.example:8443"} {
		if _, err := w.trusting(issuer).Verify(t.Context(), w.sign(slug, alice).Token); err != nil {
			t.Errorf("%s: %v", issuer, err)
		}
	}
	// An issuer with a path has its metadata below that path, which is not here.
	if _, err := w.trusting("https://id.below.example/x").Verify(t.Context(), w.sign("below", alice).Token); !errors.Is(err, jwks.ErrJWKS) {
		t.Errorf("an issuer with a path: %v", err)
	}

	// A domain that was given up leads to nobody's keys: not even the platform's
	// are taken for those of the issuer.
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"custom_domain":null}`).ok(200)
	if _, err := w.trusting("https://id.acme.example").Verify(t.Context(), w.sign("acme", alice).Token); !errors.Is(err, jwks.ErrJWKS) {
		t.Errorf("a domain given up: %v", err)
	}
	w.do("PATCH", "/v1/tenants/other", w.root, `{"custom_domain":"id.acme.example"}`).problem(ProblemCodeConflict) // while it is the issuer's host
	dbtest.Exec(t, w.dsn, `SET session_replication_role = replica; UPDATE tenants SET custom_domain = 'id.acme.example' WHERE slug = 'other'`)
	w.snapshots.InvalidateAll()
	if _, err := w.trusting("https://id.acme.example").Verify(t.Context(), w.sign("acme", alice).Token); !errors.Is(err, jwks.ErrJWKS) {
		t.Errorf("a domain that another tenant took: %v", err)
	}
}

// Every document by Host is that of whoever has the domain, however it is
// written, and the platform's on every other.
func TestDocumentsByHost(t *testing.T) {
	w := newWorld(t)
	w.tenant("plain")
	for _, slug := range []string{"acme", "other"} {
		domain := "id." + slug + ".example"
		w.do("POST", "/v1/tenants", w.root, `{"slug":"`+slug+`","custom_domain":"`+domain+`","issuer":"https://`+domain+`"}`).ok(201)
	}
	at := func(host, path string) string {
		t.Helper()
		a := w.spoken("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if a.StatusCode != 200 {
			t.Fatalf("%s on %q: %d %s", path, host, a.StatusCode, a.body)
		}
		return string(a.body)
	}
	for _, c := range []struct{ byHost, byPath string }{
		{"/.well-known/jwks.json", "/t/%s/.well-known/jwks.json"},
		{"/.well-known/jwks-history", "/t/%s/.well-known/jwks-history"},
		{"/.well-known/openid-configuration", "/t/%s/.well-known/openid-configuration"},
		{"/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/t/%s"},
	} {
		of := map[string]string{}
		for _, slug := range []string{"acme", "other", "platform"} {
			of[slug] = at("keys.example.com", strings.ReplaceAll(c.byPath, "%s", slug))
		}
		if of["acme"] == of["other"] || of["acme"] == of["platform"] {
			t.Fatalf("%s: tenants are alike", c.byPath)
		}
		for host, slug := range map[string]string{
			"id.acme.example": "acme", "ID.ACME.Example": "acme", "id.acme.example:443": "acme", "id.acme.example:65000": "acme", "id.acme.example.": "acme",
			"ID.acme.example.:8443": "acme", "id.other.example": "other", "ID.OTHER.EXAMPLE.": "other",
			"keys.example.com": "platform", "nobody.example": "platform", "acme": "platform", "plain": "platform", "www.id.acme.example": "platform",
			"id.acme.example..": "platform", "id.acme.example.id.other.example": "platform", "127.0.0.1": "platform",
		} {
			if got := at(host, c.byHost); got != of[slug] {
				t.Errorf("%s on %q is not that of %s: %s", c.byHost, host, slug, got)
			}
			// With a tenant in the path, the Host says nothing.
			if got := at(host, strings.ReplaceAll(c.byPath, "%s", "other")); got != of["other"] {
				t.Errorf("%s on %q: %s", c.byPath, host, got)
			}
		}
	}
}

// The key history on a tenant's domain is signed by a key that verifiers find
// there, and speaks of the tenant.
func TestKeyHistoryOnATenantsDomain(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","custom_domain":"id.acme.example","issuer":"https://id.acme.example"}`).ok(201)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).ok(200)
	a := w.spoken("GET /.well-known/jwks-history HTTP/1.1\r\nHost: ID.acme.example:443\r\nConnection: close\r\n\r\n").ok(200)
	if got := a.Header.Get("Content-Type"); got != mimeKeyHistory {
		t.Errorf("%s", got)
	}
	token, err := w.trusting("https://id.acme.example", tokens.HistoryType).Verify(t.Context(), string(a.body))
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Keys []struct {
			KID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(token.Payload(), &claims); err != nil || len(claims.Keys) != 2 { // the deprecated and the active one
		t.Errorf("%s %v", token.Payload(), err)
	}
}

// A tenant's domain is no way into that tenant: what is not below /.well-known/
// answers as it does on every Host, with the same credentials, and on the public
// address it does not answer at all.
func TestAdministrationOnATenantsDomain(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"custom_domain":"id.acme.example"}`).ok(200)
	other := w.tenant("other")
	keysOfAcme, keysOfOther := w.key(tenant.TenantAdmin, &acme.ID), w.key(tenant.TenantAdmin, &other.ID)
	ask := func(path, key string) *answer {
		t.Helper()
		return w.spoken("GET " + path + " HTTP/1.1\r\nHost: id.acme.example\r\nConnection: close\r\nAuthorization: Bearer " + key + "\r\n\r\n")
	}
	ask("/v1/tenants/acme", keysOfAcme).ok(200)
	ask("/v1/tenants/acme", keysOfOther).problem(ProblemCodeTenantNotFound)
	ask("/v1/tenants/other", keysOfAcme).problem(ProblemCodeTenantNotFound)
	ask("/v1/tenants/other", keysOfOther).ok(200)
	ask("/v1/tenants/acme", "").problem(ProblemCodeUnauthenticated)
	ask("/v1/tenants", keysOfAcme).problem(ProblemCodeForbidden)

	outside := w.internet()
	for _, path := range []string{"/v1/tenants/acme", "/v1/tenants", "/metrics", "/docs", "/openapi.yaml", "/console"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://id.acme.example"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+w.root)
		resp, err := outside.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 404 {
			t.Errorf("%s on the public address: %d", path, resp.StatusCode)
		}
	}
}
