package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// Every code of docs/contract.md's error codes, provoked through HTTP, leaves
// everything as it was. internal and unavailable are provoked in
// TestPanicsAreLoggedAndNotTold and TestWithoutPostgreSQL.
func TestErrorsChangeNothing(t *testing.T) {
	w := newWorld(t)
	acme, gone := w.tenant("acme"), w.tenant("gone")
	w.tenant("idle")
	w.do("PATCH", "/v1/tenants/idle", w.root, `{"status":"suspended"}`).ok(200)
	w.do("PATCH", "/v1/tenants/idle", w.root, `{"custom_domain":"id.idle.example"}`).ok(200)
	w.do("DELETE", "/v1/tenants/gone", w.root, "").ok(204)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).ok(200)
	old := w.keys("acme", KeyStateDeprecated)[0].KID
	w.do("POST", "/v1/tenants/acme/keys/"+old+"/revoke", w.root, `{"reason":"superseded"}`).ok(200)
	signer := w.key(tenant.TenantSigner, &acme.ID)
	big := `{"name":"` + strings.Repeat("a", maxBody) + `"}`
	const v1 = "/v1/tenants/acme"
	for _, c := range []struct {
		name, method, path, key, body string
		code                          ProblemCode
	}{
		{"not JSON", "POST", "/v1/tenants", w.root, `{`, ProblemCodeInvalidRequest},
		{"no body", "POST", "/v1/tenants", w.root, ``, ProblemCodeInvalidRequest},
		{"bad slug", "POST", "/v1/tenants", w.root, `{"slug":"A b"}`, ProblemCodeInvalidRequest},
		{"slug like an id", "POST", "/v1/tenants", w.root, `{"slug":"` + acme.ID.String() + `"}`, ProblemCodeInvalidRequest},
		{"slug of the platform", "POST", "/v1/tenants", w.root, `{"slug":"platform"}`, ProblemCodeInvalidRequest},
		{"unknown member", "POST", "/v1/tenants", w.root, `{"slug":"x","colour":1}`, ProblemCodeInvalidRequest},
		{"member twice", "POST", "/v1/tenants", w.root, `{"slug":"x","slug":"y"}`, ProblemCodeInvalidRequest},
		{"null", "PATCH", v1, w.root, `{"status":null}`, ProblemCodeInvalidRequest},
		{"slug cannot change", "PATCH", v1, w.root, `{"slug":"x"}`, ProblemCodeInvalidRequest},
		{"bad status", "PATCH", v1, w.root, `{"status":"deleted"}`, ProblemCodeInvalidRequest},
		{"bad domain", "PATCH", v1, w.root, `{"custom_domain":"1.2.3.4"}`, ProblemCodeInvalidRequest},
		{"bad issuer", "PATCH", v1, w.root, `{"issuer":"ftp://x"}`, ProblemCodeInvalidRequest},
		{"bad query", "GET", "/v1/tenants?limit=501", w.root, ``, ProblemCodeInvalidRequest},
		{"unknown query", "GET", "/v1/tenants?colour=1", w.root, ``, ProblemCodeInvalidRequest},
		{"bad cursor of tenants", "GET", "/v1/tenants?cursor=abc", w.root, ``, ProblemCodeInvalidRequest},
		{"bad cursor of keys", "GET", v1 + "/keys?cursor=abc", w.root, ``, ProblemCodeInvalidRequest},
		{"bad cursor of events", "GET", v1 + "/audit?cursor=abc", w.root, ``, ProblemCodeInvalidRequest},
		{"bad cursor of credentials", "GET", v1 + "/api-keys?cursor=abc", w.root, ``, ProblemCodeInvalidRequest},
		{"bad time", "GET", v1 + "/keys?valid_at=yesterday", w.root, ``, ProblemCodeInvalidRequest},
		{"unknown algorithm", "PUT", v1 + "/policies/HS256", w.root, `{}`, ProblemCodeInvalidRequest},
		{"another algorithm", "PUT", v1 + "/policies/ES256", w.root, `{"alg":"RS256"}`, ProblemCodeInvalidRequest},
		{"unknown reason", "POST", v1 + "/keys/" + old + "/revoke", w.root, `{"reason":"bored"}`, ProblemCodeInvalidRequest},
		{"credential that has expired", "POST", v1 + "/api-keys", w.root, `{"role":"tenant_admin","expires_at":"2001-01-01T00:00:00Z"}`, ProblemCodeInvalidRequest},
		{"role of the platform", "POST", v1 + "/api-keys", w.root, `{"role":"platform_admin"}`, ProblemCodeInvalidRequest},
		{"claims not an object", "POST", v1 + "/tokens", w.root, `{"claims":[]}`, ProblemCodeInvalidRequest},
		{"reserved header", "POST", v1 + "/tokens", w.root, `{"claims":{},"headers":{"jku":"x"}}`, ProblemCodeInvalidRequest},
		{"HMAC", "POST", v1 + "/tokens", w.root, `{"claims":{},"alg":"HS256"}`, ProblemCodeInvalidRequest},
		{"no lifetime", "POST", v1 + "/tokens", w.root, `{"claims":{},"ttl_seconds":0}`, ProblemCodeInvalidRequest},
		{"bad typ", "POST", v1 + "/tokens", w.root, `{"claims":{},"typ":"a b"}`, ProblemCodeInvalidRequest},
		{"padding", "POST", v1 + "/sign", w.root, `{"payload":"YQ=="}`, ProblemCodeInvalidRequest},
		{"unencodable", "POST", v1 + "/sign", w.root, `{"payload":"Lg","b64":false}`, ProblemCodeInvalidRequest},
		{"no tokens", "POST", v1 + "/tokens/batch", w.root, `{"tokens":[]}`, ProblemCodeInvalidRequest},
		{"too many tokens", "POST", v1 + "/tokens/batch", w.root, `{"tokens":[` + strings.Repeat(`{},`, maxBatch) + `{}]}`, ProblemCodeInvalidRequest},
		{"query where none is read", "POST", v1 + "/tokens?ttl_seconds=1", w.root, `{"claims":{}}`, ProblemCodeInvalidRequest},
		{"year 10000", "POST", v1 + "/api-keys", w.root, `{"role":"tenant_admin","expires_at":"9999-12-31T23:59:59-12:00"}`, ProblemCodeInvalidRequest},
		{"empty token", "POST", v1 + "/tokens/verify", w.root, `{"token":""}`, ProblemCodeInvalidRequest},
		{"body where none is taken", "DELETE", v1, w.root, `{}`, ProblemCodeInvalidRequest},

		{"no credential", "POST", "/v1/tenants", "", `{"slug":"x"}`, ProblemCodeUnauthenticated},
		{"wrong credential", "POST", "/v1/tenants", "kw_x", `{"slug":"x"}`, ProblemCodeUnauthenticated},
		{"role", "POST", v1 + "/keys/rotate", signer, `{}`, ProblemCodeForbidden},
		{"role, of the platform", "POST", "/v1/tenants", signer, `{"slug":"x"}`, ProblemCodeForbidden},

		{"no such tenant", "POST", "/v1/tenants/nobody/keys/rotate", w.root, `{}`, ProblemCodeTenantNotFound},
		{"no such id", "PATCH", "/v1/tenants/00000000-0000-7000-8000-000000000000", w.root, `{}`, ProblemCodeTenantNotFound},
		{"not a name", "PATCH", "/v1/tenants/A_B", w.root, `{}`, ProblemCodeTenantNotFound},
		{"deleted", "POST", "/v1/tenants/" + gone.ID.String() + "/tokens", w.root, `{"claims":{}}`, ProblemCodeTenantNotFound},
		{"deleted twice", "DELETE", "/v1/tenants/gone", w.root, ``, ProblemCodeTenantNotFound},
		{"not one's own", "PATCH", "/v1/tenants/idle", signer, `{}`, ProblemCodeTenantNotFound},
		{"no such key", "POST", v1 + "/keys/none/revoke", w.root, `{"reason":"compromised"}`, ProblemCodeKeyNotFound},
		{"not a kid", "GET", v1 + "/keys/a%20b", w.root, ``, ProblemCodeKeyNotFound},
		{"no such credential", "DELETE", v1 + "/api-keys/00000000-0000-7000-8000-000000000000", w.root, ``, ProblemCodeNotFound},
		{"not an id", "DELETE", v1 + "/api-keys/1", w.root, ``, ProblemCodeNotFound},
		{"no such policy", "DELETE", v1 + "/policies/RS256", w.root, ``, ProblemCodeNotFound},
		{"no such path", "POST", v1 + "/nothing", w.root, `{}`, ProblemCodeNotFound},
		{"no such method", "PUT", "/v1/tenants", w.root, `{}`, ProblemCodeMethodNotAllowed},

		{"slug in use", "POST", "/v1/tenants", w.root, `{"slug":"acme"}`, ProblemCodeConflict},
		{"domain in use", "PATCH", v1, w.root, `{"custom_domain":"id.idle.example"}`, ProblemCodeConflict},
		{"built in: suspend", "PATCH", "/v1/tenants/platform", w.root, `{"status":"suspended"}`, ProblemCodeConflict},
		{"built in: delete", "DELETE", "/v1/tenants/platform", w.root, ``, ProblemCodeConflict},
		{"default policy", "DELETE", v1 + "/policies/ES256", w.root, ``, ProblemCodeConflict},
		{"revoked already", "POST", v1 + "/keys/" + old + "/revoke", w.root, `{"reason":"compromised"}`, ProblemCodeInvalidTransition},
		{"suspended: token", "POST", "/v1/tenants/idle/tokens", w.root, `{"claims":{}}`, ProblemCodeTenantSuspended},
		{"suspended: batch", "POST", "/v1/tenants/idle/tokens/batch", w.root, `{"tokens":[{"claims":{}}]}`, ProblemCodeTenantSuspended},
		{"suspended: sign", "POST", "/v1/tenants/idle/sign", w.root, `{"payload":""}`, ProblemCodeTenantSuspended},

		{"too large", "PATCH", v1, w.root, big, ProblemCodePayloadTooLarge},
		{"token too large", "POST", v1 + "/tokens", w.root, big, ProblemCodePayloadTooLarge},
		{"grace too short", "PUT", v1 + "/policies/RS256", w.root, `{"grace_period_seconds":60}`, ProblemCodePolicyViolation},
		{"lead too short", "PUT", v1 + "/policies/ES256", w.root, `{"publish_lead_seconds":60}`, ProblemCodePolicyViolation},
		{"no default left", "PUT", v1 + "/policies/ES256", w.root, `{"default":false}`, ProblemCodePolicyViolation},
		{"two defaults", "POST", "/v1/tenants", w.root, `{"slug":"x","policies":[{"alg":"ES256","default":true},{"alg":"ES384","default":true}]}`, ProblemCodePolicyViolation},
		{"caches outlast the lead", "PATCH", v1, w.root, `{"jwks_max_age_seconds":604800}`, ProblemCodePolicyViolation},
		{"no policy for it", "POST", v1 + "/tokens", w.root, `{"claims":{},"alg":"PS512"}`, ProblemCodePolicyViolation},
		{"lifetime", "POST", v1 + "/tokens", w.root, `{"claims":{},"ttl_seconds":86401}`, ProblemCodePolicyViolation},
		{"exp too late", "POST", v1 + "/tokens", w.root, `{"claims":{"exp":99999999999}}`, ProblemCodePolicyViolation},
		{"another iss", "POST", v1 + "/tokens", w.root, `{"claims":{"iss":"https://evil.example"}}`, ProblemCodePolicyViolation},
		{"payload like a token", "POST", v1 + "/sign", w.root, `{"payload":"eyJleHAiOjk5OTk5OTk5OTk5fQ"}`, ProblemCodePolicyViolation},
		{"no policy to rotate", "POST", v1 + "/keys/rotate", w.root, `{"alg":"PS512"}`, ProblemCodePolicyViolation},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := w.in(t)
			before := w.rows()
			w.do(c.method, c.path, c.key, c.body).problem(c.code)
			if after := w.rows(); after != before {
				t.Errorf("something changed:\n%s\n%s", before, after)
			}
		})
	}
	w.others(v1, old)
}

// others need headers of their own.
func (w *world) others(v1, kid string) {
	before := w.rows()
	w.do("GET", v1+"/keys/"+kid, w.root, "", "Accept", "text/html").problem(ProblemCodeNotAcceptable)
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin1"} {
		r, _ := http.NewRequest("POST", w.url+"/v1/tenants", strings.NewReader(`{"slug":"x"}`))
		r.Header.Set("Authorization", "Bearer "+w.root)
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		a := w.send(r)
		a.problem(ProblemCodeUnsupportedMediaType)
	}
	if w.rows() != before {
		w.t.Error("something changed")
	}
}

func TestSecurityHeaders(t *testing.T) {
	w := newWorld(t)
	for path, key := range map[string]string{"/v1/tenants": w.root, "/v1/audit": "", "/v1/tenants/nobody": w.root} {
		h := w.do("GET", path, key, "").Header
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, h)
		}
	}
}
