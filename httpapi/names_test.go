package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// settings is the body of a PATCH with one setting.
func settingBody(name, value string) string {
	text, _ := json.Marshal(map[string]string{name: value})
	return string(text)
}

// A tenant's administrator names no host that the tenant has not verified, whether
// somebody has it or nobody, and cannot tell the two apart. Nobody gets the name of
// the platform.
func TestTenantTakesNoNameOfOthers(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.do("POST", "/v1/tenants", w.root, `{"slug":"victim","issuer":"https://id.victim.example","custom_domain":"keys.victim.example"}`).ok(201)
	w.tenant("derived")
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	w.inert(func() {
		var free, taken []string
		for _, issuer := range []string{
			"https://id.victim.example", "https://ID.Victim.Example", "https://id.victim.example/", "https://id.victim.example:443",
			"https://id.victim.example:0443/", "https://id.victim.example/x/..", "https://keys.victim.example", "https://keys.victim.example/x",
		} {
			taken = append(taken, w.refusedName(admin, "issuer", issuer))
		}
		for _, issuer := range []string{"https://nobody.example", "https://localhost", "https://10.0.0.1", "http://[::1]:8080", "https://intranet/x", "https://acme.internal"} {
			free = append(free, w.refusedName(admin, "issuer", issuer))
		}
		taken = append(taken, w.refusedName(admin, "custom_domain", "keys.victim.example"), w.refusedName(admin, "custom_domain", "id.victim.example"))
		free = append(free, w.refusedName(admin, "custom_domain", "nobody.example"), w.refusedName(admin, "custom_domain", "nobody.internal"))
		all := slices.Concat(free, taken)
		slices.Sort(all)
		if all = slices.Compact(all); len(all) != 1 {
			t.Errorf("the refusals differ: %q", all)
		}
		for _, key := range []string{admin, w.root} {
			for _, issuer := range []string{
				testPublicURL, testPublicURL + "/", testPublicURL + "/t/victim", testPublicURL + "/t/derived", testPublicURL + "/t/derived/", testPublicURL + "/t/acme/../derived",
				testPublicURL + "/t/%64erived", testPublicURL + "/t/platform", testPublicURL + "/t/acme2", "https://KEYS.example.com/t/derived", testPublicURL + ":443/t/derived",
				"http://keys.example.com/t/acme", "https://keys.example.com:8443/t/acme", "https://keys.example.com./t/derived",
			} {
				if p := w.do("PATCH", "/v1/tenants/acme", key, settingBody("issuer", issuer)).problem(ProblemCodeInvalidRequest); p.Errors[0].Field != "issuer" {
					t.Errorf("%s: %+v", issuer, p)
				}
			}
			for _, domain := range []string{"localhost", "LOCALHOST", "a.localhost", "intranet", "keys.example.com", "127.0.0.1", "xn--a.example"} {
				if p := w.do("PATCH", "/v1/tenants/acme", key, settingBody("custom_domain", domain)).problem(ProblemCodeInvalidRequest); p.Errors[0].Field != "custom_domain" {
					t.Errorf("%s: %+v", domain, p)
				}
			}
		}
	})
	w.do("PATCH", "/v1/tenants/acme", admin, settingBody("issuer", testPublicURL+"/t/acme/")).ok(200)
	w.do("PATCH", "/v1/tenants/acme", admin, `{"issuer":null,"custom_domain":null}`).ok(200)
}

// refusedName returns the refusal of a name, without what is each request's own.
func (w *world) refusedName(key, setting, value string) string {
	w.t.Helper()
	p := w.do("PATCH", "/v1/tenants/acme", key, settingBody(setting, value)).problem(ProblemCodePolicyViolation)
	text, err := json.Marshal(p)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// A platform_admin sets what is free, and learns that a name is taken, in whatever
// spelling. A deleted tenant's names are free.
func TestNamesAreUniqueAmongLiveTenants(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","issuer":"https://id.acme.example/a","custom_domain":"keys.acme.example"}`).ok(201)
	w.tenant("other")
	w.inert(func() {
		for setting, values := range map[string][]string{
			"issuer": {
				"https://id.acme.example/a", "https://ID.acme.example/a/", "https://id.acme.example:443/a", "https://id.acme.example/%61", "https://id.acme.example/b/../a",
				"https://id.acme.example//a", "https://keys.acme.example", "https://keys.acme.example:9443/x",
			},
			"custom_domain": {"keys.acme.example", "Keys.ACME.example", "id.acme.example"},
		} {
			for _, value := range values {
				w.do("PATCH", "/v1/tenants/other", w.root, settingBody(setting, value)).problem(ProblemCodeConflict)
				w.do("POST", "/v1/tenants", w.root, `{"slug":"third",`+settingBody(setting, value)[1:]).problem(ProblemCodeConflict)
			}
		}
	})
	w.do("PATCH", "/v1/tenants/other", w.root, `{"issuer":"https://id.acme.example/b"}`).ok(200) // as those of one Keycloak
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"issuer":"https://keys.acme.example","custom_domain":"keys.acme.example"}`).ok(200)
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	w.do("PATCH", "/v1/tenants/other", w.root, `{"issuer":"https://keys.acme.example","custom_domain":"keys.acme.example"}`).ok(200)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme"}`).ok(201)

	var feed JWKSFeed
	w.do("GET", "/v1/jwks-feed", w.root, "").ok(200, &feed)
	issuers := map[string]bool{}
	for _, item := range feed.Items {
		name := strings.ToLower(strings.TrimSuffix(item.Issuer, "/"))
		if item.Deleted == nil && issuers[name] {
			t.Errorf("two live tenants have the issuer %s", name)
		}
		issuers[name] = issuers[name] || item.Deleted == nil
	}
}

// The database refuses what the program would not ask for.
func TestDatabaseRefusesSecondIssuer(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","issuer":"https://id.acme.example"}`).ok(201)
	w.tenant("other")
	conn, err := pgx.Connect(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, change := range []string{
		"UPDATE tenants SET issuer = 'https://id.acme.example/', issuer_name = 'https://id.acme.example' WHERE slug = 'other'",
		"UPDATE tenants SET issuer = 'https://ID.acme.example/', issuer_name = NULL WHERE slug = 'other'",
		"UPDATE tenants SET issuer = 'https://id.other.example', issuer_name = '/t/other' WHERE slug = 'acme'",
	} {
		if _, err := conn.Exec(t.Context(), change); db.Constraint(err) != "tenants_live_issuer" {
			t.Errorf("%s: %v", change, err)
		}
	}
}

// A public URL under which a tenant has an issuer that is not its own path, or whose host
// is a tenant's custom domain, does not come into use.
func TestPublicURLIsNotAmongIssuers(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","issuer":"https://id.acme.example/t/other"}`).ok(201)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"beta","custom_domain":"id.beta.example"}`).ok(201)
	for publicURL, fits := range map[string]bool{testPublicURL: true, "https://id.acme.example": false, "https://id.acme.example:8443": false, "https://acme.example": true, "https://id.beta.example": false, "https://id.beta.example:8443/x": false, "": true} {
		err := tenant.New(tenant.Config{DB: w.db, Names: tenant.NewNamespace(publicURL)}).CheckNames(t.Context())
		if fits && err != nil || !fits && !errors.Is(err, tenant.ErrPublicURLTaken) {
			t.Errorf("%s: %v", publicURL, err)
		}
	}
}

func TestDomains(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	admin, rival := w.key(tenant.TenantAdmin, &acme.ID), w.key(tenant.TenantAdmin, &other.ID)
	const domains, rivals = "/v1/tenants/acme/domains", "/v1/tenants/other/domains"
	var d, again, theirs Domain
	w.do("POST", domains, admin, `{"domain":"B\u00fccher.Example"}`).ok(201, &d)
	if d.Domain != "xn--bcher-kva.example" || d.TxtName != "_keyward."+d.Domain || len(d.TxtValue) < 40 || d.VerifiedAt != nil {
		t.Errorf("%+v", d)
	}
	w.do("POST", domains, admin, `{"domain":"xn--bcher-kva.example"}`).ok(200, &again)
	w.do("POST", rivals, rival, `{"domain":"xn--bcher-kva.example"}`).ok(201, &theirs)
	if again != d || theirs.TxtValue == d.TxtValue {
		t.Errorf("claimed again %+v, by another %+v", again, theirs)
	}
	at, theirsAt := domains+"/"+d.Domain, rivals+"/"+d.Domain
	w.do("POST", at+"/verify", admin, "").problem(ProblemCodeUnavailable) // no name server answers
	dns := w.serveNames()
	w.do("POST", at+"/verify", admin, "").problem(ProblemCodePolicyViolation)
	dns.set(d.TxtName, "v=spf1 -all", theirs.TxtValue)
	w.do("POST", at+"/verify", admin, "").problem(ProblemCodePolicyViolation)
	w.refusedName(admin, "custom_domain", d.Domain)

	dns.set(d.TxtName, "v=spf1 -all", theirs.TxtValue, d.TxtValue)
	w.do("POST", at+"/verify", admin, "").ok(200, &d)
	if d.VerifiedAt == nil {
		t.Error("not verified")
	}
	w.do("POST", theirsAt+"/verify", rival, "").problem(ProblemCodePolicyViolation)
	w.do("PATCH", "/v1/tenants/other", rival, settingBody("custom_domain", d.Domain)).problem(ProblemCodePolicyViolation)
	w.do("PATCH", "/v1/tenants/other", w.root, settingBody("custom_domain", d.Domain)).problem(ProblemCodeConflict)
	w.do("PATCH", "/v1/tenants/acme", admin, `{"custom_domain":"XN--BCHER-kva.example","issuer":"https://xn--bcher-kva.example/"}`).ok(200)
	w.do("PATCH", "/v1/tenants/acme", admin, `{"issuer":"https://id.xn--bcher-kva.example/"}`).problem(ProblemCodePolicyViolation) // another host

	dns.set(d.TxtName)
	w.do("POST", at+"/verify", admin, "").problem(ProblemCodePolicyViolation)
	dns.fail(true)
	w.do("POST", at+"/verify", admin, "").problem(ProblemCodeUnavailable)
	var list DomainList
	w.do("GET", domains, admin, "").ok(200, &list)
	if len(list.Items) != 1 || list.Items[0].VerifiedAt == nil {
		t.Errorf("a record that is gone took the proof away: %+v", list)
	}
	w.do("DELETE", at, admin, "").problem(ProblemCodeConflict)
	w.do("PATCH", "/v1/tenants/acme", admin, `{"custom_domain":null}`).ok(200)
	w.do("DELETE", at, admin, "").problem(ProblemCodeConflict) // the issuer's
	w.do("PATCH", "/v1/tenants/acme", admin, `{"issuer":null}`).ok(200)
	w.do("DELETE", at, admin, "").ok(204)
	w.do("DELETE", at, admin, "").problem(ProblemCodeNotFound)

	dns.fail(false)
	dns.set(d.TxtName, theirs.TxtValue)
	w.do("POST", theirsAt+"/verify", rival, "").ok(200)
	w.do("PATCH", "/v1/tenants/other", rival, settingBody("custom_domain", d.Domain)).ok(200)
	w.do("DELETE", "/v1/tenants/other", w.root, "").ok(204)
	w.do("POST", domains, admin, settingBody("domain", d.Domain)).ok(201, &again)
	dns.set(d.TxtName, again.TxtValue)
	w.do("POST", at+"/verify", admin, "").ok(200)

	var events AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?action=domain.verified", admin, "").ok(200, &events)
	if len(events.Items) != 2 {
		t.Errorf("%d events of verification", len(events.Items))
	}
	w.do("GET", "/v1/tenants/acme/audit?action=domain.removed", admin, "").ok(200, &events)
	if len(events.Items) != 1 || string(events.Items[0].Details) != `{"domain":"`+d.Domain+`"}` {
		t.Errorf("%+v", events.Items)
	}
}

// What cannot be looked up in public DNS, or is the platform's, cannot be claimed.
func TestDomainsThatNobodyCanProve(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	for _, domain := range []string{
		"localhost", "a.localhost", "intranet", "printer.local", "db.internal", "x.onion", "1.0.0.127.in-addr.arpa", "10.0.0.1", "[::1]", "keys.example.com", "KEYS.example.com",
		"*.acme.example", "id.acme.example.", "id.acme.example:443", "https://id.acme.example", "xn--a.example", "", "a..example", "_keyward.acme.example",
	} {
		w.do("POST", "/v1/tenants/acme/domains", admin, settingBody("domain", domain)).problem(ProblemCodeInvalidRequest)
	}
}

// A tenant claims so many hosts and no more; one that it has is still answered.
func TestDomainsOfATenantAreBounded(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const domains, most = "/v1/tenants/acme/domains", 1000
	n := 0
	claim := func() *answer { return w.do("POST", domains, w.root, fmt.Sprintf(`{"domain":"h%d.acme.example"}`, n)) }
	for n < most && claim().StatusCode == 201 {
		n++
	}
	if n == 0 || n == most {
		t.Fatalf("%d hosts were claimed", n)
	}
	claim().problem(ProblemCodeConflict)
	w.do("POST", domains, w.root, `{"domain":"h0.acme.example"}`).ok(200)
}

// Whoever sends a name that cannot be stored is told which rule it breaks.
func TestRefusedNamesSayWhy(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	for name, want := range map[string]string{
		`a\u0000b`: "NUL", `\u0000`: "NUL", strings.Repeat("a", 201): "at most 200 characters",
	} {
		for path, method := range map[string]string{"/v1/tenants": "POST", "/v1/tenants/acme": "PATCH", "/v1/api-keys": "POST", "/v1/tenants/acme/api-keys": "POST"} {
			body := `{"name":"` + name + `"}`
			if path == "/v1/tenants" {
				body = `{"slug":"bolt","name":"` + name + `"}`
			} else if strings.HasSuffix(path, "api-keys") {
				body = `{"role":"` + map[bool]string{true: "platform_auditor", false: "tenant_auditor"}[path == "/v1/api-keys"] + `","name":"` + name + `"}`
			}
			p := w.do(method, path, w.root, body).problem(ProblemCodeInvalidRequest)
			if len(p.Errors) != 1 || p.Errors[0].Field != "name" || !strings.Contains(p.Errors[0].Message, want) {
				t.Errorf("%s %s with the name %.20q: %s %v, want a word about %s", method, path, name, p.Detail, p.Errors, want)
			}
		}
	}
}

// A claim and its removal are in the tenant's history although nobody relies on a host that is
// not verified; a repeated claim changes nothing and writes nothing. The database refuses a
// claim without its event.
func TestClaimsOfDomainsAreAudited(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	w.do("POST", "/v1/tenants/acme/domains", admin, settingBody("domain", "id.acme.example")).ok(201)
	w.do("POST", "/v1/tenants/acme/domains", admin, settingBody("domain", "ID.acme.example")).ok(200)
	w.do("DELETE", "/v1/tenants/acme/domains/id.acme.example", admin, "").ok(204)
	w.do("POST", "/v1/tenants/acme/domains", admin, settingBody("domain", "next.acme.example")).ok(201)
	var events AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?order=asc&action=domain.claimed", admin, "").ok(200, &events)
	if len(events.Items) != 2 || string(events.Items[0].Details) != `{"domain":"id.acme.example"}` || events.Items[0].Actor.Type != "api_key" {
		t.Errorf("claims: %+v", events.Items)
	}
	w.do("GET", "/v1/tenants/acme/audit?action=domain.removed", admin, "").ok(200, &events)
	if len(events.Items) != 1 || string(events.Items[0].Details) != `{"domain":"id.acme.example"}` {
		t.Errorf("removals: %+v", events.Items)
	}
	conn, err := pgx.Connect(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, statement := range []string{
		"INSERT INTO domains (tenant_id, domain, token, created_at) SELECT id, 'silent.example', repeat('A', 26), now() FROM tenants WHERE slug = 'acme'",
		"DELETE FROM domains WHERE domain = 'next.acme.example'",
	} {
		if _, err := conn.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "rows of domains do not change without an audit event") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}
