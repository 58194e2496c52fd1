package httpapi

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

func TestEventsAreTheAuditEvents(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.tenant("other")
	key := w.key(tenant.TenantAuditor, &acme.ID)
	before := scalar[int64](w, "SELECT audit_seq FROM tenants WHERE slug = 'acme'")
	own, all := w.listenTo(w.tenantEvents("acme"), key, ""), w.listenTo(w.url+"/v1/events", w.root, "")
	w.do("POST", "/v1/tenants/other/keys/rotate", w.root, "{}").ok(200)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"line\nbreak <b>","status":"suspended"}`).ok(200)
	w.do("POST", "/v1/tenants/acme/keys/revoke-all", w.root, `{"reason":"compromised"}`).ok(200)
	var list AuditEventList
	w.do("GET", "/v1/tenants/acme/audit?order=asc", w.root, "").ok(200, &list)
	for _, want := range list.Items[before:] {
		wanted, _ := json.Marshal(want)
		if got, _ := json.Marshal(own.next()); string(got) != string(wanted) {
			t.Errorf("heard %s\nwant  %s", got, wanted)
		}
		for {
			e := all.next()
			if got, _ := json.Marshal(e); string(got) == string(wanted) {
				break
			}
			if e.Tenant == "acme" && e.Seq > before {
				t.Errorf("heard of %d of acme, not of %d", e.Seq, want.Seq)
			}
		}
	}
}

// Many write, and the reader comes and goes.
func TestEventsAreHeardOnceAndInOrder(t *testing.T) {
	const writers, each = 20, 10
	w := newWorld(t)
	ids := []uuid.UUID{w.tenant("a").ID, w.tenant("b").ID, w.tenant("c").ID}
	seen := map[string]int64{}
	for _, id := range ids {
		seen[id.String()] = scalar[int64](w, "SELECT audit_seq FROM tenants WHERE id = $1", id)
	}
	l := w.listenTo(w.url+"/v1/events", w.root, "")
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range each {
				e := operator.Event(w.clock.now(), audit.AuthorizationDenied)
				if err := w.server.cfg.Audit.Append(t.Context(), ids[rand.IntN(len(ids))], e, e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for heard := 0; heard < 2*writers*each; {
		e := l.next()
		if last, ours := seen[e.TenantID.String()]; !ours || e.Seq <= last && heard == 0 {
			continue // from before the stream, or of the platform
		} else if e.Seq != last+1 {
			t.Fatalf("%d of %s after %d", e.Seq, e.Tenant, last)
		}
		seen[e.TenantID.String()] = e.Seq
		if heard++; rand.IntN(10) == 0 {
			l.leave()
			l = w.listenTo(w.url+"/v1/events", w.root, l.id)
		}
	}
	writing.Wait()
}

// A stream goes on where it was, however it names the place, and nowhere else.
func TestStreamGoesOn(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.tenant("other")
	first := w.listenTo(w.tenantEvents("acme"), w.root, "")
	begun := first.id
	first.leave()
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"one"}`).ok(200)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"two"}`).ok(200)
	second := w.listenTo(w.tenantEvents("acme"), w.root, begun)
	one := second.next()
	after := second.id
	third := w.listenTo(w.tenantEvents("acme")+"?last_event_id="+begun, w.root, after) // the header counts
	if two := third.next(); two.Seq != one.Seq+1 {
		t.Errorf("%d after %d", two.Seq, one.Seq)
	}
	for _, url := range []string{"/v1/tenants/other/events", "/v1/events"} {
		w.do("GET", url, w.root, "", "Last-Event-ID", after).problem(ProblemCodeInvalidRequest)
	}
	w.do("GET", "/v1/tenants/acme/events?last_event_id="+after[1:], w.root, "").problem(ProblemCodeInvalidRequest)
	w.do("GET", "/v1/tenants/acme/events", w.root, "", "Last-Event-ID", "not one").problem(ProblemCodeInvalidRequest)
}

// Somebody's events are found without a word from anybody.
func TestEventsNobodyToldOf(t *testing.T) {
	w := newWorldWith(t, dbtest.New(t), Streams{Look: 20 * time.Millisecond})
	acme := w.tenant("acme")
	l := w.listenTo(w.tenantEvents("acme"), w.root, "")
	d, err := db.Open(t.Context(), db.Config{URL: w.dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	e := operator.Event(w.clock.now(), audit.AuthorizationDenied)
	e.Reason = "elsewhere"
	if err := audit.New(audit.Config{DB: d}).Append(t.Context(), acme.ID, e); err != nil {
		t.Fatal(err)
	}
	for got := l.next(); got.Reason == nil || *got.Reason != "elsewhere"; {
		got = l.next()
	}
}

// The database comes and goes; the stream stays.
func TestStreamOutlivesTheDatabase(t *testing.T) {
	pg := dbtest.NewServer(t)
	w := newWorldWith(t, pg.DSN(), Streams{Look: 20 * time.Millisecond})
	w.tenant("acme")
	l := w.listenTo(w.tenantEvents("acme"), w.root, "")
	pg.Stop()
	for !strings.Contains(w.log.String(), `"msg":"event stream: reading events failed, retrying"`) {
		time.Sleep(time.Millisecond)
	}
	pg.Start()
	for a := w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"back"}`); a.StatusCode != 200; {
		a = w.do("PATCH", "/v1/tenants/acme", w.root, `{"name":"back"}`)
	}
	for l.next().Action != AuditAction(audit.TenantUpdated) {
	}
}
