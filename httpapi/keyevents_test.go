package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

func (w *world) keyEvents(slug string) string { return w.url + "/v1/tenants/" + slug + "/key-events" }

// event reads to the next event.
func (l *listening) event() block {
	l.t.Helper()
	for {
		if b := l.block(); b.event != "" {
			return b
		}
	}
}

// A verifier hears what happens to keys and to the tenant, each once and in order, and
// of nothing else: not who did it, nor their comments, nor what else they did.
func TestKeyEventsTellWhatVerifiersNeed(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	key := w.key(tenant.TenantVerifier, &acme.ID)
	const path = "/v1/tenants/acme"
	head := scalar[int64](w, "SELECT audit_seq FROM tenants WHERE slug = 'acme'")
	l := w.listenTo(w.keyEvents("acme"), key, "")
	began := l.id
	active := w.keys("acme", KeyStateActive)[0].KID
	w.do("POST", path+"/api-keys", w.root, `{"role":"tenant_signer","name":"secret-name"}`).ok(201)
	w.do("PUT", path+"/policies/EdDSA", w.root, `{}`).ok(201)
	w.do("POST", path+"/keys/rotate", w.root, `{"reason":"secret-rotation"}`).ok(200)
	w.do("POST", path+"/keys/"+active+"/revoke", w.root, `{"reason":"compromised","comment":"secret-comment"}`).ok(200)
	w.do("PATCH", path, w.root, `{"name":"secret-tenant"}`).ok(200)
	w.do("PATCH", path, w.root, `{"status":"suspended"}`).ok(200)

	type seen struct {
		block
		data map[string]any
	}
	collect := func(l *listening) (all []seen) {
		t.Helper()
		for {
			b := l.event()
			var data map[string]any
			if err := json.Unmarshal([]byte(b.data), &data); err != nil {
				t.Fatal(err)
			}
			all = append(all, seen{b, data})
			if b.event == string(audit.TenantSuspended) {
				return all
			}
		}
	}
	all := collect(l)
	states := map[string]string{}
	for _, e := range all {
		if !strings.HasPrefix(e.event, "key.") && !strings.HasPrefix(e.event, "tenant.") || e.data["id"] != e.id || strings.Contains(e.block.data, "secret") {
			t.Errorf("%+v", e.block)
		}
		for _, name := range slices.Sorted(maps.Keys(e.data)) {
			if !slices.Contains([]string{"id", "at", "kid", "state", "reason"}, name) {
				t.Errorf("%s has %s", e.event, name)
			}
		}
		if kid, of := e.data["kid"].(string); of {
			states[kid] = fmt.Sprint(e.data["state"])
			if (e.data["reason"] != nil) != (e.event == "key.revoked") {
				t.Errorf("%+v", e.block)
			}
		}
	}
	if states[active] != "revoked" || len(states) != 5 || all[len(all)-1].data["state"] != "suspended" {
		t.Errorf("%v, the last is %v", states, all[len(all)-1].data)
	}

	// Resumed anywhere, in any process, the rest is the same.
	other, _ := w.replica(t)
	for i, e := range all[:len(all)-1] {
		at := w
		if i%2 == 1 {
			at = other
		}
		r := at.listenTo(at.keyEvents("acme"), key, e.id)
		rest := collect(r)
		r.leave()
		if len(rest) != len(all)-i-1 || rest[0].id != all[i+1].id {
			t.Errorf("after %d of %d events: %d follow", i+1, len(all), len(rest))
		}
	}
	w.do("GET", path+"/key-events", key, "", "Last-Event-ID", "none").problem(ProblemCodeInvalidRequest)
	stranger := w.tenant("other")
	w.do("GET", path+"/key-events", w.key(tenant.TenantVerifier, &stranger.ID), "").problem(ProblemCodeTenantNotFound)
	w.do("GET", path+"/key-events", key, "", "Last-Event-ID", w.listenTo(w.keyEvents("other"), w.root, "").id).problem(ProblemCodeInvalidRequest)

	// One who has fallen behind by more than is in memory misses nothing.
	w.do("PATCH", path, w.root, `{"status":"active"}`).ok(200)
	for range maxRecent / 2 {
		w.do("POST", path+"/keys/rotate", w.root, `{"alg":"ES256"}`)
		w.do("POST", path+"/keys/revoke-all", w.root, `{"reason":"superseded"}`).ok(200)
	}
	w.do("PATCH", path, w.root, `{"name":"last"}`).ok(200)
	late, n := w.listenTo(w.keyEvents("acme"), key, began), 0
	for b := late.event(); ; b = late.event() {
		if n++; b.event == string(audit.TenantUpdated) && n > len(all) {
			break
		}
	}
	if want := scalar[int](w, "SELECT count(*) FROM audit_events e JOIN tenants t ON t.id = e.tenant_id WHERE slug = 'acme' AND action ~ '^(key|tenant)[.]' AND seq > $1", head); n != want {
		t.Errorf("%d events, want %d", n, want)
	}
}

// A stream of key events ends with its credential, and with its tenant after the last
// event.
func TestKeyEventsEnd(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	k, key, err := w.tenants.CreateAPIKey(t.Context(), operator, tenant.NewAPIKey{TenantID: &acme.ID, Role: tenant.TenantVerifier})
	if err != nil {
		t.Fatal(err)
	}
	l := w.listenTo(w.keyEvents("acme"), key, "")
	w.do("DELETE", "/v1/tenants/acme/api-keys/"+k.ID.String(), w.root, "").ok(204)
	l.endsWith(l.block(), noCredential)

	for _, key := range []string{w.key(tenant.TenantVerifier, &acme.ID), w.root} {
		l := w.listenTo(w.keyEvents("acme"), key, "")
		defer func() {
			revoked := 0
			for b := l.event(); b.event != string(audit.TenantDeleted); b = l.event() {
				if b.event == string(audit.KeyRevoked) {
					revoked++
				}
			}
			if revoked != 2 {
				t.Errorf("%d keys were revoked before the tenant was deleted, want 2", revoked)
			}
			l.endsWith(l.block(), noTenant)
		}()
	}
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
}

func TestKeyEventStreamsAreCounted(t *testing.T) {
	w := newWorldWith(t, dbtest.New(t), Streams{MostKeys: 2})
	acme := w.tenant("acme")
	key := w.key(tenant.TenantVerifier, &acme.ID)
	w.listenTo(w.keyEvents("acme"), key, "")
	w.do("GET", "/v1/tenants/acme/key-events", key, "").problem(ProblemCodeRateLimited)
	w.listenTo(w.keyEvents("acme"), w.root, "")
	w.do("GET", "/v1/tenants/acme/key-events", w.root, "").problem(ProblemCodeUnavailable)
	if a := w.do("GET", "/metrics", "", ""); !strings.Contains(string(a.body), "\nkeyward_key_event_streams 2\n") {
		t.Error("the streams are not counted")
	}
}

// Thousands of verifiers may listen to one process: each idle stream costs little memory,
// all of a tenant share one feed, and nothing stays when they have left.
func TestAnIdleKeyEventStreamCostsLittle(t *testing.T) {
	const n, most = 400, 96 << 10 // bytes for both ends of a stream, which are in this process
	w := newWorldWith(t, dbtest.New(t), Streams{MostKeys: 20 * n})
	acme := w.tenant("acme")
	key := w.key(tenant.TenantVerifier, &acme.ID)
	inUse := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	first := w.listenTo(w.keyEvents("acme"), key, "")
	before := inUse()
	all := []*listening{first}
	for range n {
		all = append(all, w.listenTo(w.keyEvents("acme"), key, ""))
	}
	if each := (int64(inUse()) - int64(before)) / n; each > most {
		t.Errorf("a stream takes %d bytes, want at most %d", each, most)
	} else {
		t.Logf("a stream takes %d bytes, with its client", each)
	}
	feeds := w.server.auditServer.keys
	feeds.mu.Lock()
	if len(feeds.of) != 1 {
		t.Errorf("%d feeds, want 1", len(feeds.of))
	}
	feeds.mu.Unlock()
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200)
	for _, l := range all {
		if b := l.event(); !strings.HasPrefix(b.event, "key.") {
			t.Fatalf("%+v", b)
		}
		l.leave()
	}
	deadline := time.Now().Add(time.Minute) // for a test that fails
	for left := -1; left != 0 && time.Now().Before(deadline); runtime.Gosched() {
		feeds.mu.Lock()
		if left = len(feeds.of); left != 0 && feeds.slots.openSlots() == 0 {
			t.Error("a feed without readers goes on")
			left = 0
		}
		feeds.mu.Unlock()
	}
}
