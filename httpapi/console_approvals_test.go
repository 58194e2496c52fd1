package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// What waits in any tenant is on one page for the platform's administrators, newest first and
// page by page; a tenant's own administrator is led to their own.
func TestConsoleWaitingApprovals(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.tenant("other")
	s := w.signedIn(w.root)
	s.get("/console/approvals").is(http.StatusOK).has("Nothing waits for a decision")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["purge","policy"]}`).ok(200)
	w.do("PATCH", "/v1/tenants/other", w.root, `{"approval_required":["purge"]}`).ok(200)
	admin := w.key(tenant.TenantAdmin, &acme.ID)
	w.do("PUT", "/v1/tenants/acme/policies/ES256", admin, `{"default":true,"grace_period_seconds":691200}`).ok(202)
	w.do("POST", "/v1/tenants/other/keys/purge", w.root, "").ok(202)
	p := s.get("/console/approvals").is(http.StatusOK).has("Change a policy", "Purge old keys", "ES256: Grace period", "7 days", "8 days", "tenant_admin", "Yours: somebody else decides")
	if strings.Index(p.Body, "/console/tenants/other/approvals?approval=") > strings.Index(p.Body, "/console/tenants/acme/approvals?approval=") {
		t.Error("the newest is not the first")
	}
	id := scalar[string](w, `SELECT id::text FROM approvals WHERE operation = 'policy'`)
	s.get("/console/tenants/acme/approvals?approval="+id).is(http.StatusOK).has("/console/tenants/acme/approvals/"+id, "Approve", "8 days").lacks("Purge old keys<")
	s.get("/console/tenants/other/approvals?approval=" + id).is(http.StatusNotFound)

	own := w.signedIn(admin).get("/console/approvals").is(http.StatusOK).has("Change a policy").lacks("other", "Purge old keys<")
	if own.Path != "/console/tenants/"+acme.ID.String()+"/approvals" {
		t.Errorf("a tenant's administrator is led to %s", own.Path)
	}
	for _, role := range []tenant.Role{tenant.PlatformAuditor, tenant.TenantAuditor, tenant.TenantSigner} {
		w.signedIn(w.key(role, &acme.ID)).get("/console/approvals").is(http.StatusForbidden).lacks("Purge old keys")
	}

	// Decided and expired ones wait no longer, nor do those of a deleted tenant.
	s.post("/console/tenants/acme/approvals/"+id, "do", "reject").has("Your decision is recorded")
	s.get("/console/approvals").lacks("Change a policy", "/console/tenants/acme").has("/console/tenants/other")
	for range 21 {
		w.do("POST", "/v1/tenants/acme/keys/purge", w.root, "").ok(202)
	}
	first := s.get("/console/approvals")
	if n := strings.Count(first.Body, "<tr data-row="); n != 20 {
		t.Errorf("%d on the first page", n)
	}
	_, next, _ := strings.Cut(first.Body, `<a class="btn" href="/console/approvals?`)
	next, _, _ = strings.Cut(next, `"`)
	second := s.get("/console/approvals?" + next).is(http.StatusOK)
	if n := strings.Count(second.Body, "<tr data-row="); n != 2 || strings.Contains(second.Body, "Next page") {
		t.Errorf("%d on the second page", n)
	}
	s.get("/console/approvals?cursor=nonsense").is(http.StatusBadRequest)
	w.do("DELETE", "/v1/tenants/other", w.root, "").ok(204)
	s.get("/console/approvals?" + next).lacks("/console/tenants/other")
	w.clock.pass(tenant.ApprovalLifetime)
	s = w.signedIn(w.root)
	s.get("/console/approvals").has("Nothing waits for a decision")
}

// An approval of a policy or of settings says what is now and what it would be, in the API and
// on the page, and what has changed since; what the approver was told cannot be changed in the
// database.
func TestConsoleApprovalsShowValues(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["settings","policy"]}`).ok(200)
	second := w.key(tenant.PlatformAdmin, nil)
	s := w.signedIn(second)
	const path = "/console/tenants/acme/approvals"
	change := func(method, at, body string) Approval {
		t.Helper()
		var a Approval
		w.do(method, "/v1/tenants/acme"+at, w.root, body).ok(202, &a)
		return a
	}
	values := func(a Approval) string {
		var b strings.Builder
		for _, c := range a.Changes {
			fmt.Fprintf(&b, "%s %s=%s:%s;", valueOr(c.Alg, ""), c.Field, string(c.Before), string(c.After))
		}
		return b.String()
	}
	settings := change("PATCH", "", `{"name":"<b>Acme</b>","jwks_max_age_seconds":120,"custom_domain":"id.acme.example"}`)
	if got := values(settings); got != ` custom_domain=:"id.acme.example"; jwks_max_age_seconds=300:120; name="":"\u003cb\u003eAcme\u003c/b\u003e";` {
		t.Errorf("settings: %s", got)
	}
	relax := change("PATCH", "", `{"approval_required":["settings"]}`)
	if got := values(relax); got != ` approval_required=["policy","settings"]:["settings"];` {
		t.Errorf("fewer approvals: %s", got)
	}
	policy := change("PUT", "/policies/ES256", `{"default":true,"grace_period_seconds":691200,"min_adoption":0.9}`)
	if got := values(policy); got != `ES256 grace_period_seconds=604800:691200;ES256 min_adoption=0:0.9;` {
		t.Errorf("policy: %s", got)
	}
	created := change("PUT", "/policies/EdDSA", `{"default":true}`)
	if got := values(created); !strings.Contains(got, "EdDSA rotation_interval_seconds=:2592000;") || !strings.Contains(got, "ES256 default=true:false;") {
		t.Errorf("new policy: %s", got)
	}
	if got := values(change("POST", "/webhooks", `{"url":"https://hooks.example.com/x"}`)); got != "" {
		t.Errorf("a webhook: %s", got)
	}
	s.get(path).has("Custom domain", "none", "id.acme.example", "JWKS max-age", "5 minutes", "2 minutes", "&lt;b&gt;Acme", "ES256: Wait for verifiers", "0 %", "90 %",
		"A second person for", "Change a policy, Change settings", "EdDSA: Rotation interval", "30 days").lacks("<b>Acme", "when it was asked for")

	// What has changed since is told, and the values that were approved are carried out.
	w.do("POST", "/v1/tenants/acme/approvals/"+settings.ID.String()+"/approve", second, "").ok(200)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"<b>Acme</b>","jwks_max_age_seconds":120,"custom_domain":"id.acme.example"}`, "Keyward-Approval", settings.ID.String()).ok(200)
	again := change("PATCH", "", `{"jwks_max_age_seconds":60}`)
	dbtest.Exec(t, w.dsn, `SET session_replication_role = replica; UPDATE approvals SET changes = '[{"field":"name","before":"\"x\"","after":"\"harmless\""}]' WHERE id = '`+again.ID.String()+`'`)
	s.get(path).has("harmless")
	before := w.state()
	w.do("POST", "/v1/tenants/acme/approvals/"+again.ID.String()+"/approve", second, "").problem(ProblemCodeInternal)
	if w.state() != before {
		t.Error("approved with values that were written into the database")
	}
	later := change("PATCH", "", `{"jwks_max_age_seconds":90}`)
	other := change("PATCH", "", `{"jwks_max_age_seconds":100}`)
	w.do("POST", "/v1/tenants/acme/approvals/"+other.ID.String()+"/approve", second, "").ok(200)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"jwks_max_age_seconds":100}`, "Keyward-Approval", other.ID.String()).ok(200)
	s.get(path+"?approval="+later.ID.String()).has("JWKS max-age", "1 minute 40 seconds", "was 2 minutes when it was asked for", "1 minute 30 seconds")

	// So are values that were set then and are not now, and settings that no form has.
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":[]}`, "Keyward-Approval", approved(t, w, second, change("PATCH", "", `{"approval_required":[]}`))).ok(200)
	const windows = `"freeze_windows":[{"from":"2100-01-01T00:00:00Z","until":"2100-01-02T00:00:00Z","reason":"year end"}]`
	w.do("PATCH", "/v1/tenants/acme", w.root, `{`+windows+`,"jwks_headers":{"Cache-Tag":"acme"},"metadata":{"service_documentation":"https://acme.example/<docs>"},"jwks_path":"auth/keys"}`).ok(200)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["settings"]}`).ok(200)
	last := change("PATCH", "", `{"freeze_windows":[],"custom_domain":null,"jwks_headers":{},"metadata":null,"jwks_path":null}`)
	one := path + "?approval=" + last.ID.String()
	s.get(one).has("Freeze windows", "year end", "Metadata of discovery", "Headers of the JWKS", "Further path of the JWKS", "Custom domain").lacks("when it was asked for")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"freeze_windows":[],"custom_domain":null}`, "Keyward-Approval", approved(t, w, second, change("PATCH", "", `{"freeze_windows":[],"custom_domain":null}`))).ok(200)
	p := s.get(one).has("was id.acme.example when it was asked for", "was [{&#34;from&#34;:&#34;2100-01-01T00:00:00Z&#34;")
	if n := strings.Count(p.Body, "when it was asked for"); n != 2 {
		t.Errorf("%d values are said to have changed since, want 2", n)
	}
}

// approved approves a request and returns its id.
func approved(t *testing.T, w *world, second string, a Approval) string {
	t.Helper()
	w.do("POST", "/v1/tenants/acme/approvals/"+a.ID.String()+"/approve", second, "").ok(200)
	return a.ID.String()
}
