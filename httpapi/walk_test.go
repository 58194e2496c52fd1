package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// An errand is an operation of the document with all that asking for it takes.
type errand struct {
	*openapi3.Operation
	method, path string
	things       map[string]string // by the name of the path's parameter
}

const nowhere = "00000000-0000-7000-8000-000000000000"

// errands are all operations, about things of the tenant acme.
func (w *world) errands() (all []errand) {
	w.t.Helper()
	for path, item := range w.contract.doc.Paths.Map() {
		for method, op := range item.Operations() {
			all = append(all, errand{op, method, path, map[string]string{"tenant": "acme", "alg": "ES256", "kid": "none", "asset": "start.js"}})
		}
	}
	slices.SortFunc(all, func(a, b errand) int { return cmp.Compare(a.OperationID, b.OperationID) })
	return all
}

// documented are the errands whose answers include a status.
func (w *world) documented(status string) (some []errand) {
	w.t.Helper()
	for _, e := range w.errands() {
		if e.Responses.Value(status) != nil {
			some = append(some, e)
		}
	}
	if len(some) == 0 {
		w.t.Fatalf("no operation answers %s", status)
	}
	return some
}

func (e errand) secured() bool { return e.Security == nil }

// url fills the path in; what it has no name for gets an id that nothing has.
func (e errand) url() string {
	steps := strings.Split(e.path, "/")
	for i, step := range steps {
		if name, is := strings.CutPrefix(step, "{"); is {
			steps[i] = cmp.Or(e.things[strings.TrimSuffix(name, "}")], nowhere)
		}
	}
	return strings.Join(steps, "/")
}

// bodies are the examples of the request's body; {} if it has none, nothing if it
// takes no body.
func (e errand) bodies(t testing.TB) []string {
	t.Helper()
	if e.RequestBody == nil {
		return nil
	}
	media := e.RequestBody.Value.Content.Get("application/json")
	values := []any{media.Example}
	for _, name := range sortedNames(media.Examples) {
		values = append(values, media.Examples[name].Value.Value)
	}
	var texts []string
	for _, v := range values {
		if v == nil {
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

func (e errand) body(t testing.TB) string {
	if all := e.bodies(t); len(all) > 0 {
		return all[0]
	}
	if e.RequestBody != nil {
		return "{}"
	}
	return ""
}

// inert runs what must change nothing.
func (w *world) inert(run func()) {
	w.t.Helper()
	before := w.rows()
	run()
	if after := w.rows(); after != before {
		w.t.Errorf("something changed:\n%s\n%s", before, after)
	}
}

// answers demands a status of every errand; HEAD has no body to hold a problem.
func (e errand) answers(a *answer, status int) {
	a.t.Helper()
	var p Problem
	if a.StatusCode != status || e.method != http.MethodHead && (json.Unmarshal(a.body, &p) != nil || p.Status != status) {
		a.t.Errorf("%s: %d, want %d: %s", e.OperationID, a.StatusCode, status, a.body)
	}
}

// What every operation refuses for the same reason is refused by every one, as it
// is documented there, and changes nothing.
func TestWalkRefusals(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	roles := map[tenant.Role]string{}
	for _, role := range letters {
		roles[role] = w.key(role, &acme.ID)
	}
	large := `{"x":"` + strings.Repeat("a", maxBatchBody) + `"}`
	for name, walk := range map[string]struct {
		status int
		ask    func(w *world, e errand) *answer
	}{
		"no credential": {401, func(w *world, e errand) *answer { return w.do(e.method, e.url(), "", e.body(w.t)) }},
		"wrong role": {403, func(w *world, e errand) *answer {
			for role, key := range roles {
				if !permissions[e.OperationID].allows(role) {
					return w.do(e.method, e.url(), key, e.body(w.t))
				}
			}
			return nil // everybody with a role may: signin_test.go has somebody without one
		}},
		"unknown parameter": {400, func(w *world, e errand) *answer { return w.do(e.method, e.url()+"?colour=1", w.root, e.body(w.t)) }},
		"nothing of the name": {404, func(w *world, e errand) *answer {
			e.things = map[string]string{"tenant": "nobody", "alg": "ES512", "kid": "none", "asset": "none"}
			url := e.url()
			if url == e.path { // named in a filter
				url += "?tenant=nobody"
			}
			return w.do(e.method, url, w.root, e.body(w.t))
		}},
		"large body": {413, func(w *world, e errand) *answer { return w.do(e.method, e.url(), w.root, large) }},
		"other body": {415, func(w *world, e errand) *answer {
			r, _ := http.NewRequestWithContext(w.t.Context(), e.method, w.url+e.url(), strings.NewReader("slug=x"))
			r.Header.Set("Authorization", "Bearer "+w.root)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return w.send(r)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			w.inert(func() {
				for _, e := range w.documented(strconv.Itoa(walk.status)) {
					if !e.secured() && walk.status == 400 {
						continue
					}
					if a := walk.ask(w, e); a != nil {
						e.answers(a, walk.status)
					}
				}
			})
		})
	}
}

// An API key is refused everywhere once its address has sent too many wrong ones.
func TestWalkRateLimits(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.inert(func() {
		for _, e := range w.documented("429") {
			if !e.secured() { // limited by address alone: rate_test.go
				continue
			}
			a := w.do(e.method, e.url(), "kw_wrong", e.body(t))
			for range 1000 { // time passes, and with it the wait
				if a.StatusCode != 401 {
					break
				}
				a = w.do(e.method, e.url(), "kw_wrong", e.body(t))
			}
			e.answers(a, 429)
		}
	})
}

// A body that is not asked for is refused, and not read to its end to find out.
func TestWalkBodiesNobodyAskedFor(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.inert(func() {
		for _, e := range w.errands() {
			if !e.secured() || e.RequestBody != nil {
				continue
			}
			for _, body := range []string{"{}", strings.Repeat("a", 2*maxBody)} {
				e.answers(w.do(e.method, e.url(), w.root, body), 400)
			}
		}
	})
}

// Every path refuses the methods it does not have, and names those it has.
func TestWalkMethods(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	has := map[string][]string{}
	for _, e := range w.errands() {
		has[e.url()] = append(has[e.url()], e.method)
	}
	w.inert(func() {
		for path, methods := range has {
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} {
				if slices.Contains(methods, method) || method == "GET" && strings.HasPrefix(path, "/v1/tenants/acme/keys/") {
					continue // a kid may be called rotate
				}
				a := w.do(method, path, w.root, "")
				a.problem(ProblemCodeMethodNotAllowed)
				for _, has := range methods {
					if !strings.Contains(a.Header.Get("Allow"), has) {
						t.Errorf("%s %s: Allow: %s, not %s", method, path, a.Header.Get("Allow"), has)
					}
				}
			}
		}
	})
}

// Without PostgreSQL every operation that needs it says so, and when to ask again.
func TestWalkWithoutPostgreSQL(t *testing.T) {
	pg := dbtest.NewServer(t)
	w := newWorldLike(t, pg.DSN(), func(c *Config) {
		c.Ready = func(context.Context) map[string]error { return map[string]error{"database": errors.New("away")} }
		c.ReadyPublic = func(context.Context) map[string]error { return map[string]error{"process": errors.New("stopping")} }
	})
	w.tenant("acme")
	w.do("GET", "/v1/tenants", w.root, "").ok(200) // the credential is known
	pg.Stop()
	w.snapshots.Missed()
	for _, e := range w.documented("503") {
		a := w.do(e.method, e.url(), w.root, e.body(t))
		if e.OperationID == "readyz" || e.OperationID == "readyzPublic" {
			a.ok(503)
			continue
		}
		if e.answers(a, 503); a.Header.Get("Retry-After") == "" && e.method != http.MethodHead {
			t.Errorf("%s: %v", e.OperationID, a.Header)
		}
	}
	pg.Start()
}

// What nobody expects is answered without a word about it, by every operation,
// and logged.
func TestWalkBrokenDatabase(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.do("GET", "/v1/tenants", w.root, "").ok(200)
	broken := w.breakTables()
	w.snapshots.Missed()
	for _, e := range w.documented("500") {
		a := w.do(e.method, e.url(), w.root, e.body(t))
		if _, never := unprovoked[e.OperationID+" 500"]; never {
			continue
		}
		e.answers(a, 500)
		for _, table := range broken {
			if strings.Contains(string(a.body), table) {
				t.Errorf("%s tells of %s: %s", e.OperationID, table, a.body)
			}
		}
		if id := a.Header.Get("X-Request-Id"); a.StatusCode == 500 && !strings.Contains(w.log.String(), id) {
			t.Errorf("%s: %s is not in the log", e.OperationID, id)
		}
	}
}

// breakTables takes away from the program every table that tenants own, and says
// which those were.
func (w *world) breakTables() (names []string) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context())
	rows, err := conn.Query(w.t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%'`)
	if err != nil {
		w.t.Fatal(err)
	}
	if names, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		if _, err := conn.Exec(w.t.Context(), `ALTER TABLE `+pgx.Identifier{name}.Sanitize()+` RENAME TO `+pgx.Identifier{name + "_gone"}.Sanitize()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Cleanup(func() { w.mendTables(names) })
	return names
}

// mendTables is for those who look into the database after the test.
func (w *world) mendTables(names []string) {
	conn, err := pgx.Connect(context.Background(), w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, name := range names {
		if _, err := conn.Exec(context.Background(), `ALTER TABLE `+pgx.Identifier{name + "_gone"}.Sanitize()+` RENAME TO `+pgx.Identifier{name}.Sanitize()); err != nil {
			w.t.Error(err)
		}
	}
}
