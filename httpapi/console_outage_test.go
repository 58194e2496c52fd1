package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/httpapi/browsertest"
)

// needNothing are pages that show nothing but the session and credentials, which lockTables leaves alone.
var needNothing = map[string]bool{"/console/account": true, "/console/new-tenant": true, "/console/platform/api-keys": true}

// Every page and every form says soon that the database does not answer, and what works all
// the same. It does so when PostgreSQL hangs, when it refuses connections, and when it is slow.
func TestConsoleWithoutDatabase(t *testing.T) {
	for name, begin := range map[string]func(*dbtest.Server) (end func()){
		"hangs":   (*dbtest.Server).Freeze,
		"refuses": func(pg *dbtest.Server) func() { pg.Stop(); return pg.Start },
		"is slow": lockTables,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			pg := dbtest.NewServer(t)
			w := newWorldOn(t, pg.DSN())
			routes := w.routes()
			s := w.signedIn(w.root)
			w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
			kid := w.keys("acme", KeyStateActive)[0].KID
			w.clock.pass(0) // the database accepts other times from now on
			end := begin(pg)
			slots, done := make(chan struct{}, 8), sync.WaitGroup{}
			for _, r := range routes {
				if r.file || r.outside || r.posts() && name == "is slow" { // a change waits as long as the API lets it
					continue
				}
				for _, path := range r.at {
					done.Go(func() {
						slots <- struct{}{}
						defer func() { <-slots }()
						began := time.Now()
						p := s.visit(r, path)
						if took := time.Since(began); took > 20*time.Second { // 3 s, on a machine with nothing else to do
							t.Errorf("%s: %s", path, took)
						}
						if name == "is slow" && needNothing[path] {
							p.is(http.StatusOK)
							return
						}
						if name != "is slow" { // what was too slow a moment ago is not asked again at once
							p.has("The database does not answer")
						} else if !strings.Contains(p.Body, "The database answers too slowly") {
							p.has("The database does not answer")
						}
						p.is(http.StatusServiceUnavailable).has("What works meanwhile", "Try again", "Run <code>keyward doctor</code> on the server", "<strong>revoke it yourself</strong>").lacks("goroutine", "jackc", "SQLSTATE", "dial tcp")
						if strings.HasPrefix(path, "/console/tenants/acme") {
							p.has("keys of acme", `data-copy="`+kid+`"`)
						}
						if r.posts() {
							p.has("What you asked for was not done")
						}
					})
				}
			}
			done.Wait()
			if name != "is slow" {
				w.surfer().post("/console/sign-in", "key", w.root).is(http.StatusServiceUnavailable).has("nobody can sign in now")
			}
			w.surfer().get("/console/sign-in").is(http.StatusOK)
			end()
			w.becomes("the page is there again", func() bool { return s.get("/console/tenants/acme").Status == http.StatusOK })
		})
	}
}

// lockTables makes everybody wait who reads anything but who they are.
func lockTables(pg *dbtest.Server) (end func()) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, pg.DSN())
	if err != nil {
		panic(err)
	}
	_, err = conn.Exec(ctx, `BEGIN; DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('console_sessions', 'api_keys') LOOP
			EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', name);
		END LOOP;
	END $$`)
	if err != nil {
		panic(err)
	}
	return func() { _ = conn.Close(ctx) }
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
