package httpapi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/tenant"
)

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	for _, header := range []string{"", "Basic eDp5", "Bearer", "Bearer ", w.root, "kw " + w.root} {
		a := w.do("GET", "/v1/tenants", "", "", "Authorization", header)
		a.problem(ProblemCodeUnauthenticated)
		if got := a.Header.Get("WWW-Authenticate"); got != `Bearer realm="keyward"` {
			t.Errorf("%q: %s", header, got)
		}
	}
	forged := w.root[:len(w.root)-1] + map[bool]string{true: "b", false: "a"}[strings.HasSuffix(w.root, "a")]
	var bodies []string
	for _, key := range []string{"rubbish", "kw_x_y", forged, "kw_" + strings.Repeat("0", 32) + "_" + strings.Repeat("a", 52)} {
		a := w.do("GET", "/v1/tenants", key, "")
		a.problem(ProblemCodeUnauthenticated)
		if got := a.Header.Get("WWW-Authenticate"); got != `Bearer realm="keyward", error="invalid_token"` {
			t.Errorf("%q: %s", key, got)
		}
		bodies = append(bodies, string(a.body))
	}
	for _, b := range bodies {
		if b != bodies[0] {
			t.Errorf("answers tell what was wrong: %s, %s", b, bodies[0])
		}
	}
	w.do("GET", "/v1/tenants", "", "", "Authorization", "bearer "+w.root).ok(200)
}

func TestCredentialsEnd(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	var made CreatedAPIKey
	a := w.do("POST", "/v1/tenants/acme/api-keys", w.root, `{"role":"tenant_admin","name":"x","expires_at":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`).ok(201, &made)
	if a.Header.Get("Location") != "/v1/tenants/acme/api-keys/"+made.ID.String() || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a.Header)
	}
	w.do("GET", "/v1/tenants/acme", made.Key, "").ok(200)
	w.clock.pass(2 * time.Hour)
	w.do("GET", "/v1/tenants/acme", made.Key, "").problem(ProblemCodeUnauthenticated)
	key := w.key(tenant.TenantAdmin, &acme.ID)
	var list APIKeyList
	w.do("GET", "/v1/tenants/acme/api-keys?limit=1", w.root, "").ok(200, &list)
	if len(list.Items) != 1 || list.NextCursor == nil || strings.Contains(fmt.Sprint(list), key) {
		t.Errorf("%+v", list)
	}
	path := "/v1/tenants/acme/api-keys/" + list.Items[0].ID.String()
	w.do("DELETE", path, key, "").ok(204) // itself
	w.do("GET", "/v1/tenants/acme", key, "").problem(ProblemCodeUnauthenticated)
	w.do("DELETE", path, w.root, "").problem(ProblemCodeNotFound)

	w.do("POST", "/v1/api-keys", w.root, `{"role":"platform_auditor"}`).ok(201, &made)
	w.do("GET", "/v1/api-keys", w.root, "").ok(200, &list)
	w.do("DELETE", "/v1/api-keys/"+made.ID.String(), w.root, "").ok(204)
	w.do("GET", "/v1/tenants", made.Key, "").problem(ProblemCodeUnauthenticated)
	w.do("DELETE", "/v1/tenants/acme/api-keys/"+list.Items[len(list.Items)-1].ID.String(), w.root, "").problem(ProblemCodeNotFound) // the platform's
	key = w.key(tenant.TenantAdmin, &acme.ID)
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	w.do("GET", "/v1/tenants/acme", key, "").problem(ProblemCodeUnauthenticated)
}

func TestFailedAuthenticationIsRateLimited(t *testing.T) {
	w := newWorld(t)
	limited := 0
	for range 30 {
		a := w.do("GET", "/v1/tenants", "rubbish", "")
		if a.StatusCode == 429 {
			limited++
			if a.problem(ProblemCodeRateLimited); a.Header.Get("Retry-After") != "1" {
				t.Errorf("%v", a.Header)
			}
			continue
		}
		a.problem(ProblemCodeUnauthenticated)
	}
	if limited < 5 {
		t.Errorf("%d of 30 limited", limited)
	}
	w.do("GET", "/v1/tenants", w.root, "").ok(200) // who is right is not kept waiting
	w.clock.pass(time.Minute)
	w.do("GET", "/v1/tenants", "rubbish", "").problem(ProblemCodeUnauthenticated)
}

// No credential, token or key shows up in the log.
func TestLogHoldsNoSecret(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	key := w.key(tenant.TenantSigner, &acme.ID)
	var signed SignedToken
	w.do("POST", "/v1/tenants/acme/tokens", key, `{"claims":{"sub":"alice"}}`).ok(200, &signed)
	w.do("POST", "/v1/tenants/acme/tokens/verify", key, `{"token":"`+signed.Token+`"}`).ok(200)
	w.do("GET", "/v1/tenants/"+uuid.NewString(), key, "").problem(ProblemCodeTenantNotFound)
	log := w.log.String()
	for _, secret := range []string{key, strings.Split(key, "_")[2], signed.Token, strings.Split(signed.Token, ".")[2], "alice"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %s", secret)
		}
	}
	if !strings.Contains(log, `"operation":"signToken"`) {
		t.Error("requests are not logged")
	}
}
