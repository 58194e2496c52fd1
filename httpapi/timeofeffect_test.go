package httpapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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
		"approval.approved", "domain.verified", "domain.removed",
	} {
		if !actions[action] {
			t.Errorf("no change wrote %s: %v", action, slices.Sorted(maps.Keys(actions)))
		}
	}
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
