package httpapi

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/httpapi/browsertest"
	"github.com/keyward/keyward/httpapi/console"
	"github.com/keyward/keyward/tenant"
)

// situations are tenants in which somebody has to see what is going on.
func (w *world) situations() {
	w.t.Helper()
	for _, slug := range []string{"healthy", "rotating", "revoked", "no-standby", "many"} {
		w.tenant(slug)
	}
	w.do("PATCH", "/v1/tenants/healthy", w.root, `{"name":"Healthy Ltd."}`).ok(200, new(Tenant))
	w.do("PATCH", "/v1/tenants/rotating", w.root, `{"name":"Acme Inc."}`).ok(200, new(Tenant))
	w.do("PATCH", "/v1/tenants/many", w.root, `{"name":"A customer whose name is much longer than anybody would have expected when the page was drawn"}`).ok(200, new(Tenant))
	w.do("PUT", "/v1/tenants/many/policies/RS256", w.root, `{}`).ok(201, new(Policy))
	w.do("PUT", "/v1/tenants/many/policies/EdDSA", w.root, `{"rotation_interval_seconds":0}`).ok(201, new(Policy))
	w.sign("healthy", `{"claims":{"sub":"u"}}`)
	w.clock.pass(12 * 24 * time.Hour)
	for _, slug := range []string{"rotating", "many"} { // the key that the rotation ends has been in use
		w.sign(slug, `{"claims":{"sub":"u"},"ttl_seconds":80000}`)
	}
	if err := w.signer.FlushEvidence(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.do("POST", "/v1/tenants/rotating/keys/rotate", w.root, `{}`).ok(200, new(RotateResult))
	w.do("POST", "/v1/tenants/many/keys/rotate", w.root, `{}`).ok(200, new(RotateResult))
	for _, slug := range []string{"rotating", "revoked", "healthy"} {
		w.sign(slug, `{"claims":{"sub":"u"},"ttl_seconds":80000}`)
	}
	w.clock.pass(2 * 24 * time.Hour)
	for _, slug := range []string{"rotating", "revoked", "many"} {
		w.sign(slug, `{"claims":{"sub":"u"},"ttl_seconds":80000}`)
	}
	if err := w.signer.FlushEvidence(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.do("POST", "/v1/tenants/revoked/keys/"+w.keys("revoked", "active")[0].KID+"/revoke", w.root, `{"reason":"compromised","comment":"found in a build log"}`).ok(200, new(RevokeResult))
	dbtest.Exec(w.t, w.dsn, `SET session_replication_role = replica; UPDATE keys SET state = 'revoked', revoked_at = published_at + interval '10 days', revocation_reason = 'superseded',
		sealed_private = NULL, data_key_version = NULL WHERE state = 'standby' AND tenant_id = (SELECT id FROM tenants WHERE slug = 'no-standby');
		UPDATE policies SET due_at = now() WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'no-standby')`)
}

// newShownWorld is a platform whose own page has much to show.
func newShownWorld(t *testing.T) *world {
	t.Helper()
	return newWorldLike(t, dbtest.New(t), func(c *Config) {
		c.Console.Platform = func(context.Context) (console.PlatformState, error) { return platformInTrouble(c.Now()), nil }
	})
}

func TestConsoleScreenshots(t *testing.T) {
	w := newShownWorld(t)
	b := browsertest.New(t) // it ends first: a page holds an event stream open
	w.situations()
	p := b.Open(w.url + "/console/sign-in")
	p.View(1200, 800, false)
	shoot(t, p, "sign-in")
	p.Fill("#key", w.root)
	p.Click("form button.btn")
	shoot(t, p, "tenants")
	for _, slug := range []string{"healthy", "rotating", "revoked", "no-standby", "many"} {
		p.Goto(w.url + "/console/tenants/" + slug)
		shoot(t, p, "tenant-"+slug)
		if slug != "revoked" && slug != "no-standby" {
			p.View(1200, 800, true)
			shoot(t, p, "tenant-"+slug+"-dark")
			p.View(320, 700, false)
			shoot(t, p, "tenant-"+slug+"-narrow")
			if wide := p.Eval("document.documentElement.scrollWidth > innerWidth"); wide != "false" {
				t.Errorf("%s is wider than a phone of 320 pixels", slug)
			}
			p.View(1200, 800, false)
		}
	}
	kid := w.keys("healthy", "active")[0].KID
	w.do("PATCH", "/v1/tenants/many", w.root, `{"approval_required":["policy","settings","revoke"]}`).ok(200, new(Tenant))
	asking := w.key(tenant.PlatformAdmin, nil)
	w.do("PUT", "/v1/tenants/many/policies/ES256", asking, `{"default":true,"rotation_interval_seconds":1209600,"grace_period_seconds":259200,"max_token_ttl_seconds":7200}`).ok(202)
	w.do("PATCH", "/v1/tenants/many", asking, `{"jwks_max_age_seconds":120,"issuer":"https://login.a-rather-long-name-of-a-customer.example.com/realms/customers","approval_required":["policy","revoke"]}`).ok(202)
	w.do("POST", "/v1/tenants/many/keys/"+w.keys("many", "active")[0].KID+"/revoke", w.root, `{"reason":"superseded"}`).ok(202)
	for name, path := range map[string]string{
		"new-tenant": "/new-tenant", "keys": "/tenants/revoked/keys", "key": "/tenants/revoked/key?kid=" + w.keys("revoked", "revoked")[0].KID,
		"policies": "/tenants/many/policies", "policy": "/tenants/many/policies/ES256", "verifiers": "/tenants/healthy/verifiers?for=jose",
		"settings": "/tenants/healthy/settings", "domains": "/tenants/healthy/domains", "history": "/tenants/revoked/history?verify=1", "approvals": "/tenants/healthy/approvals",
		"webhooks": "/tenants/healthy/webhooks", "workloads": "/tenants/healthy/workloads", "api-keys": "/platform/api-keys", "rotate": "/tenants/rotating/act/rotate",
		"revoke": "/tenants/healthy/act/revoke?kid=" + kid, "revoke-all": "/tenants/many/act/revoke-all", "import": "/tenants/healthy/act/import",
		"delete": "/tenants/healthy/act/delete", "platform": "/platform", "incident": "/incident?q=revoked", "incident-all": "/incident?alg=ES256&before=2100-01-01T00:00", "incident-replace": "/incident?alg=ES256&before=2100-01-01T00:00&reason=superseded", "approvals-all": "/approvals",
		"revoked": "/tenants/revoked/revoked?done=1&kid=" + w.keys("revoked", "revoked")[0].KID, "approvals-values": "/tenants/many/approvals", "account": "/account", "not-found": "/tenants/nobody",
		"platform-history": "/history",
	} {
		p.Goto(w.url + "/console" + path)
		shoot(t, p, name)
		if got := p.Eval("document.querySelectorAll('main').length"); got != "1" {
			t.Errorf("%s: %s", path, fmt.Sprint(got))
		}
	}
	if foreign := p.Foreign(); foreign != nil {
		t.Errorf("requests to other origins: %v", foreign)
	}
}

// A compromised key is revoked with two clicks, also without scripts.
func TestConsoleRevokesInTwoClicks(t *testing.T) {
	w := newWorld(t)
	b := browsertest.New(t)
	w.tenant("acme")
	for _, scripts := range []bool{true, false} {
		kid := w.keys("acme", "active")[0].KID
		p := w.browse(b, w.root)
		if !scripts {
			p.NoScripts()
		}
		p.Goto(w.url + "/console/tenants/acme")
		p.Click(`tbody a.btn-danger[href*="` + kid + `"]`)
		p.Click(`form[method=post] button.btn-danger`)
		if got := p.Eval(`document.querySelector("[role=status] strong").textContent`); got != "Done" {
			t.Errorf("scripts %v: the page says %q", scripts, got)
		}
		if now := w.keys("acme", "active")[0].KID; now == kid {
			t.Errorf("scripts %v: %s still signs", scripts, kid)
		}
		if foreign := p.Foreign(); foreign != nil {
			t.Errorf("requests to other origins: %v", foreign)
		}
		p.Goto("about:blank") // ends its event stream
	}
}

// A change appears without a reload, and is announced, on every page that is live.
func TestConsoleIsLive(t *testing.T) {
	w := newWorld(t)
	names := w.serveNames()
	b := browsertest.New(t)
	routes := w.routes()
	p := w.browse(b, w.root)
	var claimed DomainList
	w.do("GET", "/v1/tenants/acme/domains", w.root, "").ok(200, &claimed)
	names.set(claimed.Items[0].TxtName, claimed.Items[0].TxtValue)
	announced := `document.getElementById("announce").textContent !== ""`
	changes := map[string]func(){ // of what is on the page
		"api-keys":                   func() { w.made("/v1/tenants/acme/api-keys", w.root, `{"role":"tenant_auditor","name":"new"}`) },
		"/console/platform/api-keys": func() { w.made("/v1/api-keys", w.root, `{"role":"platform_auditor","name":"new"}`) },
		"domains": func() {
			w.do("POST", "/v1/tenants/acme/domains/"+claimed.Items[0].Domain+"/verify", w.root, "").ok(200)
		},
		"workloads": func() { w.workload("/v1/tenants/acme", aWorkload) },
		"webhooks": func() {
			w.do("POST", "/v1/tenants/acme/webhooks", w.root, `{"url":"https://hooks.example.com/new"}`).ok(201)
		},
		"/console/platform/webhooks": func() { w.do("POST", "/v1/webhooks", w.root, `{"url":"https://hooks.example.com/new"}`).ok(201) },
		"policies":                   func() { w.do("PUT", "/v1/tenants/acme/policies/PS256", w.root, `{}`).ok(201) },
		"ES256": func() {
			w.do("PUT", "/v1/tenants/acme/policies/ES256", w.root, `{"default":true,"grace_period_seconds":700000}`).ok(200)
		},
		"/console/approvals": func() { w.do("POST", "/v1/tenants/acme/keys/purge", w.root, "").ok(202) },
		"approvals":          func() { w.do("POST", "/v1/tenants/acme/keys/purge", w.root, "").ok(202) },
		"settings":           func() { w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"Acme of today"}`).ok(200) },
	}
	tested := 0
	for _, r := range routes {
		if !r.live || r.pattern == "GET /console/platform" { // which looks again by itself
			continue
		}
		path := r.at[0]
		change := changes[path]
		for name, c := range changes {
			if change == nil && strings.HasSuffix(path, "/acme/"+name) || strings.HasSuffix(path, "/policies/"+name) {
				change = c
			}
		}
		if strings.Contains(r.pattern, "{webhook}") { // its deliveries are made by another process
			continue
		}
		if _, kid, is := strings.Cut(path, "/key?kid="); is { // a rotation need not change it
			change = func() {
				w.do("POST", "/v1/tenants/acme/keys/"+kid+"/revoke", w.root, `{"reason":"superseded"}`).ok(200)
			}
		}
		if strings.Contains(path, "/revoked?kid=") { // what signs in its place changes
			change = func() { w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{"alg":"RS256"}`).ok(200) }
		}
		if change == nil {
			change = func() { w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{"alg":"ES256"}`).ok(200) }
		}
		p.Goto(w.url + path)
		p.WaitFor(`document.querySelector(".live").hasAttribute("data-on")`)
		p.Eval(`window.sameDocument = true`)
		change()
		p.WaitFor(announced)
		if p.Eval(`window.sameDocument`) != "true" {
			t.Errorf("%s was loaded again", path)
		}
		tested++
	}
	if tested < 15 {
		t.Errorf("only %d pages were changed", tested)
	}
	p.Goto("about:blank")
}

// What somebody is entering is kept when what the form shows changes, and so is the focus.
func TestConsoleLiveFormsKeepWhatIsEntered(t *testing.T) {
	w := newWorld(t)
	b := browsertest.New(t)
	w.tenant("acme")
	p := w.browse(b, w.root)
	p.Goto(w.url + "/console/tenants/acme/settings")
	p.WaitFor(`document.querySelector(".live").hasAttribute("data-on")`)
	p.Fill("#jwks_max_age_seconds", "4m")
	p.Eval(`document.getElementById("guard-delete").click(), document.getElementById("clock_skew_seconds").focus()`)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"Acme of today"}`).ok(200)
	p.WaitFor(`document.getElementById("name").value === "Acme of today" && document.querySelector("h1").textContent === "Acme of today"`)
	if got := p.Eval(`[document.getElementById("jwks_max_age_seconds").value, document.getElementById("guard-delete").checked, document.activeElement.id, document.getElementById("kept").hidden].join(" ")`); got != "4m true clock_skew_seconds true" {
		t.Errorf("after a change of the name: %s", got)
	}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"jwks_max_age_seconds":200,"clock_skew_seconds":50}`).ok(200)
	p.WaitFor(`!document.getElementById("kept").hidden`)
	if got := p.Eval(`document.getElementById("jwks_max_age_seconds").value`); got != "4m" {
		t.Errorf("what was entered has become %q", got)
	}
	p.WaitFor(`document.getElementById("announce").textContent.includes("What you entered is kept")`)
	p.Click("#live-settings form button.btn-main")
	var acme Tenant
	w.do("GET", "/v1/tenants/acme", w.root, "").ok(200, &acme)
	if acme.Name != "Acme of today" || acme.JWKSMaxAgeSeconds != 240 || len(acme.ApprovalRequired) != 1 {
		t.Errorf("saved: %+v", acme)
	}

	// The rows of a list move, and the row that somebody is at stays the same.
	first := w.made("/v1/tenants/acme/api-keys", w.root, `{"role":"tenant_auditor","name":"first"}`)
	p.Goto(w.url + "/console/tenants/acme/api-keys")
	p.WaitFor(`document.querySelector(".live").hasAttribute("data-on")`)
	row := `document.querySelector('tr[data-row="` + first.ID.String() + `"]`
	p.Eval(row + ` details').open = true, ` + row + ` input[type=checkbox]').click(), ` + row + ` summary').focus()`)
	w.made("/v1/tenants/acme/api-keys", w.root, `{"role":"tenant_auditor","name":"second"}`)
	p.WaitFor(`document.querySelector("#live-api-keys tbody").textContent.includes("second")`)
	if got := p.Eval(`[` + row + ` details').open, ` + row + ` input[type=checkbox]').checked, ` + row + `').contains(document.activeElement), document.querySelectorAll("#live-api-keys tbody tr").length].join(" ")`); got != "true true true 2" {
		t.Errorf("after another row: %s", got)
	}
	p.Goto("about:blank")
}

// checkAccessible demands that axe-core finds nothing on a page.
func checkAccessible(t testing.TB, p *browsertest.Page, where string) {
	t.Helper()
	if p.Eval("typeof axe") == "undefined" { // the document has not been checked before
		axe, err := os.ReadFile("testdata/axe-core/axe.min.js")
		if err != nil {
			t.Fatal(err)
		}
		p.Eval(string(axe) + "; 0")
	}
	// What is preloaded, stylesheets and media, is for rules about neither of which there is one here.
	found := p.Eval(`axe.run(document, { preload: false, resultTypes: ["violations"] }).then((r) => r.violations.map((v) =>
		v.id + ": " + v.help + " at " + v.nodes.slice(0, 3).map((n) => n.target + " " + (n.any[0] ? n.any[0].message : "")).join("; ")).join("\n"))`)
	if found != "" {
		t.Errorf("%s:\n%s", where, found)
	}
}

// axe-core finds nothing on pages on which something is wrong, light and dark. Of each page as
// it is otherwise TestConsoleFitsAPhone sees to it.
func TestConsoleAccessibility(t *testing.T) {
	w := newWorld(t)
	b := browsertest.New(t)
	w.situations()
	p := b.Open(w.url + "/console/sign-in")
	p.View(1200, 800, false)
	checkAccessible(t, p, "sign-in")
	p.Fill("#key", w.root)
	p.Click("form button.btn")
	for _, dark := range []bool{false, true} {
		p.View(1200, 800, dark)
		for _, path := range []string{
			"/tenants", "/tenants?q=nobody", "/tenants/many", "/tenants/revoked", "/tenants/no-standby", "/tenants/revoked/key?kid=" + w.keys("revoked", "revoked")[0].KID,
			"/tenants/many/policies", "/tenants/rotating/act/rotate", "/incident?q=revoked", "/tenants/nobody", "/history?actor=nobody",
		} {
			p.Goto(w.url + "/console" + path)
			checkAccessible(t, p, fmt.Sprint(path, ", dark ", dark))
		}
	}
}
