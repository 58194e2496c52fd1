package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// Each act is shown first and changes nothing; then it is done once, for the
// person who did it.
func TestConsoleActs(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.do("PUT", "/v1/tenants/acme/policies/RS256", w.root, `{}`).ok(201, new(Policy))
	s := w.signedIn(w.root)
	const base = "/console/tenants/acme"
	act := func(path string, fields ...string) shownPage {
		t.Helper()
		before := w.state()
		shown := s.get(base + "/act/" + path).is(http.StatusOK)
		if w.state() != before {
			t.Errorf("%s: the dry run has changed something", path)
		}
		name, _, _ := strings.Cut(path, "?")
		return s.post(base+"/act/"+name, append(shown.hidden(base+"/act/"+name), fields...)...)
	}
	old := w.keys("acme", "active")
	rotation := s.get(base + "/act/rotate").has("<em>a new key</em>") // the next standby is in the set then
	if n := strings.Count(rotation.Body, "<td>ES256</td>"); n != 3 {
		t.Errorf("%d keys of a rotation have their algorithm", n)
	}
	act("rotate?alg=ES256", "reason", "a drill").is(http.StatusOK).has("Rotated: the standby signs now", "1 of 1 replica serves it")
	kid := ""
	for _, k := range w.keys("acme", "active") {
		if k.Alg == "ES256" {
			kid = k.KID
		}
	}
	if kid == old[0].KID || kid == "" {
		t.Errorf("%s signs, as before", kid)
	}
	act("revoke?kid="+kid, "comment", "found in a log").is(http.StatusOK).has("Done", "What to tell those who run verifiers", "PyJWKClient")
	if got := w.keys("acme", "revoked"); len(got) != 1 || got[0].KID != kid {
		t.Errorf("revoked: %+v", got)
	}
	s.get(base).has("A revoked key", "compromised", "slow verifiers: until", "until you restart them")
	s.get(base+"/key?kid="+kid).has("Who may still trust it", "found in a log")
	act("suspend").has("Suspended: nothing is signed")
	act("resume").has("Resumed")
	act("retire?alg=RS256").has("The policy is retired")
	before := w.state()
	act("revoke-all", "reason", "compromised", "confirm", "acm").is(422).has("Type acme to confirm")
	if w.state() != before {
		t.Error("revoked all without the slug")
	}
	act("revoke-all", "reason", "compromised", "confirm", "acme").is(http.StatusOK).has("Done")
	act("purge", "confirm", "acme").is(http.StatusOK).has("Done")
	if got := w.keys("acme", "revoked"); len(got) != 0 {
		t.Errorf("not purged: %+v", got)
	}
	s.get(base+"/act/delete").has("What happens at once", "JWKS after", "How long verifiers may still trust them").lacks("first token of the fresh key")
	act("delete", "confirm", "acme").is(http.StatusOK).has("Tenant acme is deleted")
	w.do("GET", "/v1/tenants/acme", w.root, "").refused("tenant_not_found")
}

// A dry run is good only for what it showed.
func TestConsoleActsAfterAChange(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	s := w.signedIn(w.root)
	const path = "/console/tenants/acme/act/rotate"
	fields := s.get(path).hidden(path)
	s.post(path, fields...).is(http.StatusOK).has("Rotated")
	before := w.state()
	s.post(path, fields...).is(http.StatusConflict).has("nothing was done")
	if w.state() != before {
		t.Error("the same page has rotated twice")
	}
}

// What a role may not do it is not shown, and cannot do by hand either.
func TestConsoleRoles(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant("acme"), w.tenant("other")
	kid := w.keys("acme", "active")[0].KID
	for role, buttons := range map[tenant.Role][]string{
		tenant.PlatformAuditor: {}, tenant.TenantAuditor: {}, tenant.TenantSigner: {}, tenant.TenantAdmin: {"/act/rotate", "/act/revoke-all", "/act/revoke?kid="},
	} {
		s := w.signedIn(w.key(role, &acme.ID))
		p := s.get("/console/tenants/acme").is(http.StatusOK)
		for _, button := range []string{"/act/rotate", "/act/revoke-all", "/act/revoke?kid="} {
			if has := strings.Contains(p.Body, button); has != (len(buttons) > 0) {
				t.Errorf("%s: %s is there: %v", role, button, has)
			}
		}
		before := w.state()
		for _, path := range []string{"rotate", "revoke", "revoke-all", "suspend", "purge", "delete", "import"} {
			if role == tenant.TenantAdmin && path != "delete" {
				continue
			}
			s.post("/console/tenants/acme/act/"+path, "kid", kid, "reason", "compromised", "confirm", "acme").is(http.StatusForbidden)
		}
		if w.state() != before {
			t.Errorf("%s has changed something", role)
		}
		if role.OfPlatform() {
			continue
		}
		unknown := s.get("/console/tenants/nobody-here").is(http.StatusNotFound)
		for _, ref := range []string{"other", other.ID.String(), "platform"} {
			foreign := s.get("/console/tenants/" + ref).is(http.StatusNotFound).lacks(other.ID.String())
			if stripped(foreign.Body) != stripped(unknown.Body) {
				t.Errorf("%s: %s differs from a tenant that is not there", role, ref)
			}
		}
		s.get("/console/tenants").is(http.StatusForbidden).lacks("other")
		s.get("/console").lacks("/console/platform", "other")
	}
}

// stripped is a page without what differs between two requests for the same.
func stripped(body string) string {
	lines := strings.Split(body, "\n")
	kept := lines[:0]
	for _, line := range lines {
		if !strings.Contains(line, "Page made") && !strings.Contains(line, "Request <code>") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// What tenants write is text on every page.
func TestConsoleShowsMarkupAsText(t *testing.T) {
	w := newWorld(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	s := w.signedIn(w.root)
	made := s.post("/console/new-tenant", "slug", "acme", "name", evil, "alg", "ES256", "rotation_interval_seconds", "30d", "publish_lead_seconds", "1d",
		"grace_period_seconds", "7d", "purge_after_seconds", "90d", "default_token_ttl_seconds", "15m", "max_token_ttl_seconds", "1d").has("The tenant is there")
	kid := w.keys("acme", "active")[0].KID
	s.post("/console/tenants/acme/api-keys", "role", "tenant_admin", "name", evil).has("Copy the new key now")
	s.post("/console/tenants/acme/webhooks", "url", "https://hooks.example.com/"+evil, "description", evil)
	s.post("/console/tenants/acme/act/revoke", "kid", kid, "reason", "compromised", "comment", evil).is(http.StatusOK)
	s.post("/console/new-tenant", "slug", evil, "name", evil, "issuer", evil, "custom_domain", evil, "alg", evil).is(422)
	for _, path := range []string{
		"/tenants", "/tenants?q=" + "%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/tenants/acme", "/tenants/acme/settings", "/tenants/acme/api-keys", "/tenants/acme/webhooks",
		"/tenants/acme/history", "/tenants/acme/key?kid=" + kid, "/history?actor=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&kid=%3Cscript%3E",
		"/tenants/acme/act/rotate?alg=%22%3E%3Cscript%3E", "/incident?q=%22%3E%3Cscript%3E", "/sign-in?next=%22%3E%3Cscript%3E", "/tenants/acme/key?kid=%22%3E%3Cscript%3E",
	} {
		s.get("/console"+path).lacks("<script>", "<img src=x", `onerror=alert(1)>`+"<")
	}
	made.lacks("<script>", "<img src=x")
}

// A second person's approval is asked for and used here as by the API.
func TestConsoleApprovals(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"approval_required":["revoke","revoke_all"]}`).ok(200, new(Tenant))
	first, second := w.signedIn(w.root), w.signedIn(w.key(tenant.PlatformAdmin, nil))
	const path = "/console/tenants/acme/act/revoke-all"
	before := w.keys("acme", "active")[0].KID
	asked := first.post(path, append(first.get(path).hidden(path), "reason", "compromised", "confirm", "acme")...).is(http.StatusAccepted).has("Nothing is done yet")
	if w.keys("acme", "active")[0].KID != before {
		t.Fatal("done without approval")
	}
	_, redo, _ := strings.Cut(asked.Body, "carry it out</h3>")
	_, redo, _ = strings.Cut(redo, `<a class="btn" href="`)
	redo, _, _ = strings.Cut(redo, `"`)
	redo = strings.ReplaceAll(redo, "&amp;", "&")
	var list ApprovalList
	w.do("GET", "/v1/tenants/acme/approvals?status=pending", w.root, "").ok(200, &list)
	if len(list.Items) != 1 {
		t.Fatalf("%+v", list)
	}
	decide := "/console/tenants/acme/approvals/" + list.Items[0].ID.String()
	first.get("/console/tenants/acme/approvals").has("Yours: somebody else decides")
	first.post(decide, "do", "approve").is(422).has("You may not decide")
	second.get("/console/tenants/acme").has("Waits for a second person")
	second.post(decide, "do", "approve").has("Your decision is recorded")
	first.post(path, append(first.get(redo).hidden(path), "reason", "compromised", "confirm", "acme")...).is(http.StatusOK).has("Done")
	if w.keys("acme", "active")[0].KID == before {
		t.Error("not done with approval")
	}
	kid := w.keys("acme", "active")[0].KID
	w.do("POST", "/v1/tenants/acme/keys/"+kid+"/revoke", w.root, `{"reason":"superseded"}`).ok(202)
	second.get("/console/tenants/acme/approvals").has(`key?kid=` + kid) // what it would revoke
}
