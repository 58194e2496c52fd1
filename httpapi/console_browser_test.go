package httpapi

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/httpapi/browsertest"
	"github.com/keyward/keyward/httpapi/console"
)

// situations are tenants in which somebody has to see what is going on.
func (w *world) situations() {
	w.t.Helper()
	for _, slug := range []string{"healthy", "rotating", "revoked", "no-standby", "many"} {
		w.tenant(slug)
	}
	w.do("PATCH", "/v1/tenants/healthy", w.root, `{"name":"Healthy Ltd."}`).ok(200, new(Tenant))
	w.do("PATCH", "/v1/tenants/many", w.root, `{"name":"A customer whose name is much longer than anybody would have expected when the page was drawn"}`).ok(200, new(Tenant))
	w.do("PUT", "/v1/tenants/many/policies/RS256", w.root, `{}`).ok(201, new(Policy))
	w.do("PUT", "/v1/tenants/many/policies/EdDSA", w.root, `{"rotation_interval_seconds":0}`).ok(201, new(Policy))
	w.sign("healthy", `{"claims":{"sub":"u"}}`)
	w.clock.pass(12 * 24 * time.Hour)
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
		sealed_private = NULL, data_key_version = NULL WHERE state = 'standby' AND tenant_id = (SELECT id FROM tenants WHERE slug = 'no-standby')`)
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
	for name, path := range map[string]string{
		"new-tenant": "/new-tenant", "keys": "/tenants/revoked/keys", "key": "/tenants/revoked/key?kid=" + w.keys("revoked", "revoked")[0].KID,
		"policies": "/tenants/many/policies", "policy": "/tenants/many/policies/ES256", "verifiers": "/tenants/healthy/verifiers?for=jose",
		"settings": "/tenants/healthy/settings", "domains": "/tenants/healthy/domains", "history": "/tenants/revoked/history?verify=1", "approvals": "/tenants/healthy/approvals",
		"webhooks": "/tenants/healthy/webhooks", "api-keys": "/platform/api-keys", "rotate": "/tenants/rotating/act/rotate",
		"revoke": "/tenants/healthy/act/revoke?kid=" + kid, "revoke-all": "/tenants/many/act/revoke-all", "import": "/tenants/healthy/act/import",
		"delete": "/tenants/healthy/act/delete", "platform": "/platform", "incident": "/incident?q=revoked", "account": "/account", "not-found": "/tenants/nobody",
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

// A change appears without a reload, and is announced.
func TestConsoleIsLive(t *testing.T) {
	w := newWorld(t)
	b := browsertest.New(t)
	w.tenant("acme")
	p := w.browse(b, w.root)
	p.Goto(w.url + "/console/tenants/acme")
	p.WaitFor(`document.querySelector(".live").hasAttribute("data-on")`)
	next := w.keys("acme", "standby")[0].KID
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, `{}`).ok(200)
	p.WaitFor(`document.querySelector(".answers .big .kid-copy").dataset.copy === "` + next + `"`)
	p.WaitFor(`document.getElementById("announce").textContent !== ""`)
}

// checkAccessible demands that axe-core finds nothing on a page.
func checkAccessible(t testing.TB, p *browsertest.Page, where string) {
	t.Helper()
	axe, err := os.ReadFile("testdata/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	p.Eval(string(axe) + "; 0")
	found := p.Eval(`axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) =>
		v.id + ": " + v.help + " at " + v.nodes.slice(0, 3).map((n) => n.target + " " + (n.any[0] ? n.any[0].message : "")).join("; ")).join("\n"))`)
	if found != "" {
		t.Errorf("%s:\n%s", where, found)
	}
}

// axe-core finds nothing on any page, light and dark.
func TestConsoleAccessibility(t *testing.T) {
	w := newShownWorld(t)
	b := browsertest.New(t)
	w.situations()
	w.do("POST", "/v1/tenants/healthy/webhooks", w.root, `{"url":"https://hooks.example.com/x"}`).ok(201)
	w.do("POST", "/v1/tenants/healthy/domains", w.root, `{"domain":"id.healthy.example"}`).ok(201)
	p := b.Open(w.url + "/console/sign-in")
	p.View(1200, 800, false)
	checkAccessible(t, p, "sign-in")
	p.Fill("#key", w.root)
	p.Click("form button.btn")
	kid := w.keys("healthy", "active")[0].KID
	for _, dark := range []bool{false, true} {
		p.View(1200, 800, dark)
		for _, path := range []string{
			"/tenants", "/new-tenant", "/tenants/healthy", "/tenants/many", "/tenants/revoked", "/tenants/no-standby", "/tenants/revoked/keys",
			"/tenants/revoked/key?kid=" + w.keys("revoked", "revoked")[0].KID, "/tenants/many/policies", "/tenants/many/policies/RS256", "/tenants/healthy/verifiers",
			"/tenants/healthy/settings", "/tenants/revoked/history", "/tenants/healthy/approvals", "/tenants/healthy/webhooks", "/tenants/healthy/api-keys", "/tenants/healthy/domains",
			"/tenants/rotating/act/rotate", "/tenants/healthy/act/revoke?kid=" + kid, "/tenants/many/act/revoke-all", "/tenants/healthy/act/import",
			"/tenants/healthy/act/delete", "/platform", "/incident?q=revoked", "/account", "/tenants/nobody", "/history",
		} {
			p.Goto(w.url + "/console" + path)
			checkAccessible(t, p, fmt.Sprint(path, ", dark ", dark))
		}
	}
}
