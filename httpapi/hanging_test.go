package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/signing"
)

// A database that hangs, frozen or behind a network that has been parted, changes nothing
// about what is in memory, makes everything else fail as unavailable and in time, and is
// asked no more than necessary. When it answers again, everything goes on.
func TestHangingPostgreSQL(t *testing.T) {
	for name, hang := range map[string]func(*testing.T, *dbtest.Server) (dsn string, begin func() (end func())){
		"frozen": func(_ *testing.T, pg *dbtest.Server) (string, func() func()) { return pg.DSN(), pg.Freeze },
		"half-open": func(t *testing.T, pg *dbtest.Server) (string, func() func()) {
			p := dbtest.NewProxy(t, pg.DSN())
			return p.DSN(), p.Stall
		},
	} {
		t.Run(name, func(t *testing.T) {
			dsn, begin := hang(t, dbtest.NewServer(t))
			w := newWorldOn(t, dsn)
			acme := w.tenant("acme")
			paths := []string{
				"/t/acme/.well-known/jwks.json", "/t/" + acme.ID.String() + "/.well-known/jwks.json", "/.well-known/jwks.json",
				"/t/acme/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/acme", "/t/acme/.well-known/jwks-history",
			}
			for _, path := range paths {
				w.do("GET", path, "", "").ok(200)
			}
			w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).ok(200)
			w.clock.pass(0) // the database accepts other times from now on
			end := begin()

			w.clock.pass(keys.FreshFor + time.Second)
			w.servesFromMemory(paths, "not confirmed")
			w.server.cfg.Snapshots.Changed(acme.ID, acme.Slug)
			w.servesFromMemory(paths, "known to have changed")

			w.refusesWithin(8*time.Second, "POST", "/v1/tenants/acme/tokens", `{"claims":{}}`)
			w.refusesWithin(8*time.Second, "GET", "/t/unknown/.well-known/jwks.json", "")
			w.refusesWithin(workTime+10*time.Second, "POST", "/v1/tenants/acme/keys/rotate", "{}")
			w.refusesWithin(workTime+10*time.Second, "GET", "/v1/tenants/acme/audit/verify", "")
			for w.db.Outage() == nil {
				w.refusesWithin(workTime+10*time.Second, "GET", "/v1/tenants/acme/policies", "") // asks PostgreSQL
			}
			if status, asked, _ := w.flood(w.requests(32, func(i int) string { return fmt.Sprintf("/t/u%d/.well-known/jwks.json", i) }, func(int, *http.Request) {})); asked > 0 || status[503]+status[429] != 32 {
				t.Errorf("during the outage: %v, and PostgreSQL was asked %d times", status, asked)
			}
			if status, asked, _ := w.flood(w.requests(32, func(int) string { return "/v1/tenants" }, func(_ int, r *http.Request) { r.Header.Set("Authorization", "Bearer "+guess()) })); asked > 0 || status[503]+status[429] != 32 {
				t.Errorf("guesses during the outage: %v, and PostgreSQL was asked %d times", status, asked)
			}
			w.clock.pass(signing.HistoryFor) // a history is due to be signed again
			w.servesFromMemory(paths, "during a known outage")

			end()
			for deadline := time.Now().Add(time.Minute); ; {
				a := w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`)
				if a.StatusCode == 200 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("a minute after the end: %d %s", a.StatusCode, a.body)
				}
			}
			for _, path := range paths[:3] {
				w.do("GET", path, "", "").ok(200)
			}
			w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "{}").ok(200)
		})
	}
}

// lateBody is a body that arrives when the request's deadline is over.
type lateBody struct {
	c    echo.Context
	left *strings.Reader
}

func (b lateBody) Read(p []byte) (int, error) {
	<-b.c.Request().Context().Done()
	return b.left.Read(p)
}

func (lateBody) Close() error { return nil }

// The time in which a body arrives is not part of a request's deadline, and the time
// before is.
func TestBodiesMayBeSlow(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	c := echo.New().NewContext(r, httptest.NewRecorder())
	k := beginWork(c, t.Context(), slowBody+time.Millisecond)
	c.Request().Body = lateBody{c, strings.NewReader("late")}
	k.awaitBody(c, t.Context(), time.Minute)
	defer k.end()
	deadline, bounded := c.Request().Context().Deadline()
	if err := c.Request().Context().Err(); err != nil || !bounded || time.Until(deadline) > time.Minute {
		t.Errorf("%v, and the deadline is at %v", err, deadline)
	}
	if body, err := readAll(c.Request()); string(body) != "late" || err != nil {
		t.Errorf("the body is %q, %v", body, err)
	}
}

// servesFromMemory asks so often that answers which each wait for PostgreSQL, however
// briefly, would take too long together.
func (w *world) servesFromMemory(paths []string, what string) {
	w.t.Helper()
	began := time.Now()
	for i := range 100 * len(paths) {
		a := w.do("GET", paths[i%len(paths)], "", "").ok(200)
		if a.Header.Get("Keyward-Stale") == "" {
			w.t.Fatalf("%s: %s is not marked as stale", what, paths[i%len(paths)])
		}
	}
	if took := time.Since(began); took > 12*time.Second { // of which 40 ms, or a second, for the first of each
		w.t.Errorf("%s: %d answers took %v", what, 100*len(paths), took)
	}
}

// refusesWithin sends a request that needs PostgreSQL.
func (w *world) refusesWithin(d time.Duration, method, path, body string) {
	w.t.Helper()
	key := w.root
	if method == "GET" && path[:3] == "/t/" {
		key = ""
	}
	began := time.Now()
	w.do(method, path, key, body).problem(ProblemCodeUnavailable)
	if took := time.Since(began); took > d {
		w.t.Errorf("%s %s took %v", method, path, took)
	}
}
