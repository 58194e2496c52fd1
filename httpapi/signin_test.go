package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/jwks/jwkstest"
	"github.com/keyward/keyward/signin"
	"github.com/keyward/keyward/tenant"
)

// newWorldWithIDP starts a platform that an identity provider's people may use:
// one group for each letter of the matrix, and the same of the tenant other.
func newWorldWithIDP(t *testing.T) (*world, *jwkstest.Issuer) {
	t.Helper()
	idp := jwkstest.New("https://id.example.com")
	roles, err := signin.ParseMapping("groups=P:platform_admin,groups=p:platform_auditor,groups=A:tenant_admin@acme,groups=s:tenant_signer@acme," +
		"groups=a:tenant_auditor@acme,groups=v:tenant_verifier@acme,groups=other-v:tenant_verifier@other,groups=other-A:tenant_admin@other,groups=other-s:tenant_signer@other,groups=other-a:tenant_auditor@other")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldLike(t, dbtest.New(t), func(c *Config) {
		c.SignIn, err = signin.New(signin.Config{
			Issuer: idp.URL, Audience: []string{"keyward"}, Roles: roles, Resolve: c.Tenants.Resolve, HTTPClient: idp.Client(), Now: c.Now,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, idp
}

func personOf(group string) jwkstest.Claims {
	return jwkstest.Claims{"aud": "keyward", "sub": "u-" + group, "name": "Person " + group, "groups": []string{group}}
}

// Who signs in by an identity provider may do what an API key of the same role
// may, and nothing else.
func TestRoleMatrixOfPeople(t *testing.T) {
	w, idp := newWorldWithIDP(t)
	w.tenant("acme")
	w.tenant("other")
	own, foreign := map[string]string{}, map[string]string{}
	for letter := range letters {
		own[letter], foreign[letter] = idp.Token("1", personOf(letter)), idp.Token("1", personOf("other-"+letter))
	}
	w.walkMatrix(own, foreign)
}

func TestPeopleInTheHistory(t *testing.T) {
	w, idp := newWorldWithIDP(t)
	w.tenant("acme")
	token := idp.Token("1", personOf("A"))
	w.do("POST", "/v1/tenants/acme/keys/rotate", token, `{}`).ok(200)
	w.do("POST", "/v1/tenants/acme/api-keys", token, `{"role":"tenant_signer","name":"x"}`, "Idempotency-Key", "k").ok(201)
	w.do("POST", "/v1/tenants/acme/api-keys", idp.Token("1", personOf("P")), `{"role":"tenant_signer","name":"x"}`, "Idempotency-Key", "k").ok(201) // a key of one's own
	w.do("POST", "/v1/tenants/acme/api-keys", token, `{"role":"tenant_signer","name":"y"}`, "Idempotency-Key", "k").problem(ProblemCodeConflict)
	var list AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?action=key.activated", token, "").ok(200, &list)
	if want := (Actor{Type: "oidc", ID: "https://id.example.com#u-A", Name: "Person A"}); len(list.Items) == 0 || list.Items[0].Actor != want {
		t.Errorf("%+v", list.Items)
	}
	w.do("GET", "/v1/tenants/acme/audit?actor=https://id.example.com%23u-A", token, "").ok(200, &list)
	if len(list.Items) < 2 {
		t.Errorf("%d events by their id", len(list.Items))
	}
	if strings.Contains(w.log.String(), strings.Split(token, ".")[2]) {
		t.Error("the log has a token")
	}
}

func TestPeopleWithoutARole(t *testing.T) {
	w, idp := newWorldWithIDP(t)
	stranger := idp.Token("1", personOf("strangers"))
	for _, c := range w.matrix() {
		w.do(c.method, c.url(), stranger, c.body).problem(ProblemCodeForbidden)
	}
	token := idp.Token("1", personOf("A"))
	w.do("GET", "/v1/tenants/acme", token, "").problem(ProblemCodeForbidden) // there is no acme yet
	w.tenant("acme")
	w.do("GET", "/v1/tenants/acme", token, "").ok(200)
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	w.do("GET", "/v1/tenants/acme", token, "").problem(ProblemCodeForbidden)
}

func TestWrongTokens(t *testing.T) {
	w, idp := newWorldWithIDP(t)
	claims := personOf("P")
	claims["aud"] = "other"
	wrong := idp.Token("1", claims)
	a := w.do("GET", "/v1/tenants", wrong, "")
	a.problem(ProblemCodeUnauthenticated)
	if got := a.Header.Get("WWW-Authenticate"); got != `Bearer realm="keyward", error="invalid_token"` {
		t.Error(got)
	}
	limited := false
	for range 40 {
		limited = limited || w.do("GET", "/v1/tenants", wrong, "").StatusCode == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("wrong tokens are not counted as failures")
	}
	w.do("GET", "/v1/tenants", idp.Token("1", personOf("P")), "").ok(200)
	w.do("GET", "/v1/tenants", w.root, "").ok(200)
}

func TestIdentityProviderAway(t *testing.T) {
	w, idp := newWorldWithIDP(t)
	idp.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	a := w.do("GET", "/v1/tenants", idp.Token("1", personOf("P")), "")
	if a.problem(ProblemCodeUnavailable); a.Header.Get("Retry-After") == "" {
		t.Errorf("%v", a.Header)
	}
	w.do("GET", "/v1/tenants", w.root, "").ok(200) // keys do without it
}

func TestStreamEndsWithItsToken(t *testing.T) {
	w, idp := newWorldWithIDP(t)
	w.tenant("acme")
	l := w.listenTo(w.tenantEvents("acme"), idp.Token("1", personOf("a")), "")
	w.clock.pass(time.Hour)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).ok(200) // wakes it
	l.ends(noCredential)
}

// A key that one replica revoked, or that has expired, is refused by another
// that has it in memory, as soon as PostgreSQL has told it.
func TestRevocationReachesOtherReplicas(t *testing.T) {
	dsn := dbtest.New(t)
	here := newWorldOn(t, dsn)
	acme := here.tenant("acme")
	there, told := here.replica(t)
	key := here.key(tenant.TenantAdmin, &acme.ID)
	there.do("GET", "/v1/tenants/acme", key, "").ok(200)
	there.do("GET", "/v1/tenants/acme", key, "").ok(200) // from memory
	var list APIKeyList
	here.do("GET", "/v1/tenants/acme/api-keys?limit=1", here.root, "").ok(200, &list)
	here.do("DELETE", "/v1/tenants/acme/api-keys/"+list.Items[0].ID.String(), here.root, "").ok(204)
	for late := time.After(30 * time.Second); there.do("GET", "/v1/tenants/acme", key, "").StatusCode != http.StatusUnauthorized; {
		select {
		case <-told: // perhaps of something earlier
		case <-late:
			t.Fatal("the other replica never hears of it")
		}
	}

	soon := here.clock.now().Add(time.Hour)
	_, key, err := here.tenants.CreateAPIKey(t.Context(), operator, tenant.NewAPIKey{TenantID: &acme.ID, Role: tenant.TenantAdmin, ExpiresAt: &soon})
	if err != nil {
		t.Fatal(err)
	}
	there.do("GET", "/v1/tenants/acme", key, "").ok(200)
	there.clock.pass(2 * time.Hour)
	there.do("GET", "/v1/tenants/acme", key, "").problem(ProblemCodeUnauthenticated)
}

// One person is not two because they have two accounts: not with one e-mail address, nor
// as the person and an API key that they made, nor by signing in again.
func TestOnePersonWithTwoAccounts(t *testing.T) {
	w, idp := newWorldWithIDP(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","approval_required":["revoke_all"]}`).ok(201)
	account := func(sub, mail string) string {
		return idp.Token("1", jwkstest.Claims{"aud": "keyward", "sub": sub, "email": mail, "preferred_username": sub, "groups": []string{"A"}})
	}
	requester := account("ann", "ann@example.com")
	own := w.made("/v1/tenants/acme/api-keys", requester, `{"role":"tenant_admin"}`).Key
	other := w.made("/v1/tenants/acme/api-keys", account("ann-admin", "Ann@Example.com"), `{"role":"tenant_admin"}`).Key
	bob := account("bob", "bob@example.com")
	bobs := w.made("/v1/tenants/acme/api-keys", bob, `{"role":"tenant_admin"}`).Key
	w.clock.pass(time.Minute)
	for _, by := range []string{requester, own} {
		a := w.request("POST", revokeAllPath, by, compromised)
		for name, again := range map[string]string{
			"again": account("ann", "ann@example.com"), "another address": account("ann", "a.n@example.com"), "another account": account("ann-admin", "ann@EXAMPLE.com"),
			"an API key": own, "an API key of the other account": other,
		} {
			w.inert(func() {
				if got := w.decided(a, again, "approve"); got.StatusCode != http.StatusForbidden {
					t.Errorf("approved by %s: %d", name, got.StatusCode)
				}
			})
		}
		for _, second := range []string{bob, bobs} {
			w.decided(w.request("POST", revokeAllPath, by, compromised), second, "approve").ok(200)
		}
	}
}
