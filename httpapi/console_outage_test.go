package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/httpapi/browsertest"
)

// unavailablePages are pages of each kind: of a tenant, of the platform, a form, an act.
var unavailablePages = []string{
	"/console/tenants/acme", "/console/tenants/acme/keys", "/console/tenants/acme/policies/ES256", "/console/tenants/acme/history", "/console/tenants/acme/domains",
	"/console/tenants/acme/act/rotate", "/console/tenants/acme/settings", "/console/tenants", "/console/history", "/console/platform", "/console/account", "/console/incident?q=acme",
}

// Every page says soon that the database does not answer, and what works all the same. It
// does so when PostgreSQL hangs and when it refuses connections.
func TestConsoleWithoutDatabase(t *testing.T) {
	for name, begin := range map[string]func(*dbtest.Server) (end func()){
		"hangs":   (*dbtest.Server).Freeze,
		"refuses": func(pg *dbtest.Server) func() { pg.Stop(); return pg.Start },
	} {
		t.Run(name, func(t *testing.T) {
			pg := dbtest.NewServer(t)
			w := newWorldOn(t, pg.DSN())
			w.tenant("acme")
			s := w.signedIn(w.root)
			form := s.get("/console/tenants/acme/act/suspend").hidden("/console/tenants/acme/act/suspend")
			w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
			kid := w.keys("acme", KeyStateActive)[0].KID
			w.clock.pass(0) // the database accepts other times from now on
			end := begin(pg)
			for _, path := range unavailablePages {
				began := time.Now()
				p := s.get(path).is(http.StatusServiceUnavailable).has("The database does not answer", "What works meanwhile", "Try again").lacks("goroutine", "pgx", "SQLSTATE", "dial tcp")
				if took := time.Since(began); took > 10*time.Second { // 3 s, on a machine with nothing else to do
					t.Errorf("%s: %s", path, took)
				}
				if strings.Contains(path, "/acme/") || strings.HasSuffix(path, "/acme") {
					p.has("keys of acme", `title="`+kid+`"`)
				}
			}
			s.post("/console/tenants/acme/act/suspend", form...).is(http.StatusServiceUnavailable).has("What you asked for was not done")
			w.surfer().post("/console/sign-in", "key", w.root).is(http.StatusServiceUnavailable).has("nobody can sign in now")
			w.surfer().get("/console/sign-in").is(http.StatusOK)
			end()
			w.becomes("the page is there again", func() bool { return s.get("/console/tenants/acme").Status == http.StatusOK })
		})
	}
}

// The page of an outage in a browser, which shows the tenant's keys as verifiers get them.
func TestConsoleOutageInABrowser(t *testing.T) {
	pg := dbtest.NewServer(t)
	proxy := dbtest.NewProxy(t, pg.DSN())
	w := newWorldOn(t, proxy.DSN())
	b := browsertest.New(t)
	w.tenant("acme")
	w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
	p := w.browse(b, w.root)
	w.clock.pass(0)
	resume := proxy.Stall()
	p.View(1200, 800, false)
	p.Goto(w.url + "/console/tenants/acme")
	if got := p.Eval(`document.querySelector("h1").textContent`); !strings.Contains(got, "does not answer") {
		t.Errorf("the page says %q", got)
	}
	shoot(t, p, "outage")
	checkAccessible(t, p, "outage")
	p.View(320, 700, true)
	shoot(t, p, "outage-narrow-dark")
	if wide := p.Eval("document.documentElement.scrollWidth > innerWidth"); wide != "false" {
		t.Error("the page is wider than a phone of 320 pixels")
	}
	checkAccessible(t, p, "outage, dark")
	resume()
	w.becomes("the page is there again", func() bool {
		p.Click("a.btn-main")
		return p.Eval(`document.querySelector("h1").textContent`) == "acme"
	})
	p.Goto("about:blank") // ends its event stream
}
