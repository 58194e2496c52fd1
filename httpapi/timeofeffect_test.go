package httpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// A change has the time of the attempt that commits. The clock of the process is fast
// until the database refuses a time: an operation that read the clock before its
// transaction would come again with the same time, and fail.
func TestEveryChangeTakesItsTimeUnderItsLock(t *testing.T) {
	w := newWorld(t)
	w.serveNames()
	late := func() func() time.Duration {
		before := w.db.Repeats()
		return func() time.Duration {
			if w.db.Repeats() == before {
				return keys.TimeTolerance + time.Second
			}
			return 0
		}
	}
	actions := map[string]bool{}
	n := 0
	for _, e := range w.errands() {
		if e.method == http.MethodGet || e.method == http.MethodHead || strings.HasSuffix(e.path, "/redeliver") {
			continue
		}
		bodies := e.bodies(t)
		if len(bodies) == 0 {
			bodies = []string{""}
		}
		for _, body := range bodies {
			if n++; strings.Contains(body, "the text of key.pem") {
				body = strings.Replace(body, "the text of key.pem", keyFile(t), 1)
			}
			e.things = w.changeable(e, fmt.Sprintf("late-%d", n))
			before, refused := w.lastEvents(), w.db.Repeats()
			w.clock.isWrong(late())
			a := w.do(e.method, e.url(), w.root, body)
			w.clock.isWrong(nil)
			after := w.lastEvents()
			if a.StatusCode > 299 {
				t.Errorf("%s: %d %s", e.OperationID, a.StatusCode, a.body)
			}
			for seq, action := range after {
				if before[seq] == "" {
					actions[action] = true
				}
			}
			if audited := len(after) > len(before); audited != (w.db.Repeats() > refused) {
				t.Errorf("%s: audited %t, %d transactions were refused", e.OperationID, audited, w.db.Repeats()-refused)
			}
			if e.OperationID == "createTenant" { // the next example has the same name
				w.do("DELETE", a.Header.Get("Location"), w.root, "").ok(204)
			}
		}
	}
	for _, action := range []string{
		"tenant.created", "tenant.updated", "tenant.deleted", "policy.created", "policy.updated", "policy.retired", "key.created", "key.activated",
		"key.deprecated", "key.revoked", "key.imported", "data_key.rotated", "api_key.created", "api_key.revoked", "webhook.created", "webhook.deleted",
		"approval.approved", "domain.claimed", "domain.verified", "domain.removed",
	} {
		if !actions[action] {
			t.Errorf("no change wrote %s: %v", action, slices.Sorted(maps.Keys(actions)))
		}
	}
}

// The first request that a replica answers whose clock is an hour fast changes nothing:
// no row, no schedule; it does not sign; and its worker puts nothing off.
func TestWrongClockChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	dbtest.Exec(t, w.dsn, "UPDATE policies SET due_at = now() + interval '30 minutes'") // due by the wrong clock
	everything := func() string {
		return w.rows() + scalar[string](w, `SELECT concat_ws('|', (SELECT string_agg(t::text, ',' ORDER BY id) FROM (SELECT id, audit_seq, updated_at, cache_horizon, jwks_xid FROM tenants) t),
			(SELECT string_agg(p::text, ',' ORDER BY p.tenant_id, p.alg) FROM policies p), (SELECT string_agg(last_used_at::text, ',' ORDER BY id) FROM api_keys))`)
	}
	before := everything()
	n := 0
	for _, e := range w.errands() {
		if e.method == http.MethodGet || e.method == http.MethodHead || e.OperationID == "verifyToken" || strings.Contains(e.path, "{id}") || strings.Contains(e.path, "{domain}") {
			continue
		}
		fast := w.fastReplica(t) // its clock is not known to be wrong yet
		e.things["kid"] = w.keys("acme", KeyStateActive)[0].KID
		body := e.body(t)
		if e.OperationID == "signTokens" || e.OperationID == "createTenant" || e.OperationID == "importKey" {
			continue // the batch says so of each token; the others are seen below
		}
		if n++; e.OperationID == "updateTenant" {
			body = `{"name":"another"}`
		}
		if a := fast.do(e.method, e.url(), w.root, body); a.StatusCode < 400 {
			t.Errorf("%s: %d %s", e.OperationID, a.StatusCode, a.body)
		}
		if _, err := fast.store.RunDue(t.Context(), operator, 100); !errors.Is(err, tenant.ErrClock) {
			t.Errorf("due work: %v", err)
		}
		if err := fast.tenants.FlushLastUsed(t.Context()); err != nil && !errors.Is(err, tenant.ErrClock) {
			t.Error(err)
		}
		if after := everything(); after != before {
			t.Fatalf("%s changed something:\n%s\n%s", e.OperationID, before, after)
		}
	}
	if n < 10 {
		t.Errorf("only %d operations", n)
	}
	fast := w.fastReplica(t)
	fast.do("POST", "/v1/tenants", w.root, `{"slug":"late"}`).problem(ProblemCodeUnavailable)
	w.do("GET", "/v1/tenants/late", w.root, "").problem(ProblemCodeTenantNotFound)
}

// A process with a wrong clock refuses no request for a time that is right: it says that it
// cannot answer.
func TestWrongClockRefusesNoRightTime(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	fast := w.fastReplica(t)
	soon := w.clock.now().Add(30 * time.Minute).UTC().Format(time.RFC3339)
	public := body(map[string]string{"public_key": foreignEC(t).public(t), "expires_at": soon, "alg": "ES256"})
	fast.do("POST", "/v1/tenants/acme/keys/import", w.root, public).problem(ProblemCodeUnavailable)
	credential := `{"role":"tenant_auditor","expires_at":"` + soon + `"}`
	fast.do("POST", "/v1/tenants/acme/api-keys", w.root, credential).problem(ProblemCodeUnavailable)
	w.do("POST", "/v1/tenants/acme/keys/import", w.root, public).ok(201)
	w.do("POST", "/v1/tenants/acme/api-keys", w.root, credential).ok(201)
}

// fastReplica is a server whose clock is an hour fast.
func (w *world) fastReplica(t *testing.T) *world {
	t.Helper()
	fast := w.in(t)
	fast.clock = &clock{wrong: func() time.Duration { return time.Hour }}
	d, err := db.Open(t.Context(), db.Config{URL: w.dsn, MaxConns: 4, Now: fast.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	fast.wire(d, w.masterURI)
	handler := httptest.NewServer(fast.server)
	t.Cleanup(handler.Close)
	t.Cleanup(fast.server.denials.writing.Wait)
	fast.url = handler.URL
	return fast
}

// A replica whose clock is set back by a minute and that is then cut off from PostgreSQL
// marks what it serves as stale and signs nothing, from 10 s on at the latest.
func TestClockSetBackAndCutOff(t *testing.T) {
	pg := dbtest.NewServer(t)
	w := newWorldOn(t, pg.DSN())
	w.tenant("acme")
	const set = "/t/acme/.well-known/jwks.json"
	w.do("GET", set, "", "").ok(200)
	w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).ok(200)
	w.clock.isWrong(func() time.Duration { return -time.Minute })
	pg.Stop()
	cut := time.Now()
	signs, marked := true, false
	for signs || !marked {
		asked := time.Now()
		a := w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`)
		signs, marked = a.StatusCode == 200, w.do("GET", set, "", "").ok(200).Header.Get("Keyward-Stale") != ""
		if asked.Sub(cut) > keys.FreshFor && (signs || !marked) {
			t.Fatalf("%s after the cut: signs %t, marked as stale %t", asked.Sub(cut), signs, marked)
		}
	}
	pg.Start()
}

// changeable makes a tenant with one of whatever the path names.
func (w *world) changeable(e errand, slug string) map[string]string {
	w.t.Helper()
	things := w.things(e, slug)
	path := strings.Replace(e.path, "{tenant}", slug, 1)
	if list, _, named := strings.Cut(path, "/{id}"); named && strings.HasSuffix(list, "/api-keys") {
		role := tenant.PlatformAdmin
		if strings.Contains(list, slug) {
			role = tenant.TenantSigner
		}
		things["id"] = w.made(list, w.root, fmt.Sprintf(`{"role":%q,"name":"x"}`, role)).ID.String()
	}
	if strings.Contains(path, "/domains/{domain}") {
		host := slug + ".customer.example"
		var d Domain
		w.do("POST", "/v1/tenants/"+slug+"/domains", w.root, `{"domain":"`+host+`"}`).ok(201, &d)
		w.dns.set(d.TxtName, d.TxtValue)
		if e.OperationID == "removeDomain" {
			w.do("POST", "/v1/tenants/"+slug+"/domains/"+host+"/verify", w.root, "").ok(200)
		}
		things["domain"] = host
	}
	if e.OperationID == "deleteWorkloadIdentity" {
		things["id"] = w.workload("/v1/tenants/"+slug, aWorkload).ID.String()
	}
	if e.OperationID == "retirePolicy" {
		things["alg"] = "RS256" // not the default
	}
	return things
}

// lastEvents returns the actions of all events by tenant and seq.
func (w *world) lastEvents() map[string]string {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(w.t.Context()))
	rows, err := conn.Query(w.t.Context(), "SELECT tenant_id || '/' || seq, action FROM audit_events")
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]string{}
	var seq, action string
	if _, err := pgx.ForEachRow(rows, []any{&seq, &action}, func() error { all[seq] = action; return nil }); err != nil {
		w.t.Fatal(err)
	}
	return all
}
