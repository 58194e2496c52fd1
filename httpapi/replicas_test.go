package httpapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// After a revocation that waited for every replica none signs with the revoked key.
func TestRevocationWaitsForEveryReplica(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	b, _ := w.replica(t)
	for b.listener.HeardUntil().IsZero() { // until it is registered it cannot sign from memory
		if err := db.Pause(t.Context(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		signed := b.sign("acme", `{"claims":{}}`) // it has the snapshot and the private key
		var r RevokeResult
		path := "/v1/tenants/acme/keys/" + signed.KID + "/revoke"
		headers := []string{"Prefer", "wait=5"}
		if i%2 == 0 {
			headers = append(headers, once(fmt.Sprint(i))...)
		}
		a := w.do("POST", path, w.root, `{"reason":"compromised"}`, headers...).ok(200, &r)
		if r.Replicas == nil || r.Replicas.Live != 2 || r.Replicas.Confirmed != 2 || len(r.Replicas.Unconfirmed) != 0 {
			t.Fatalf("%+v", r.Replicas)
		}
		if a.Header.Get("Preference-Applied") != "wait=5" || a.Header.Get("Keyward-Replicas") != "live=2, confirmed=2" {
			t.Errorf("%v", a.Header)
		}
		if next := b.sign("acme", `{"claims":{}}`); next.KID == signed.KID {
			t.Fatalf("%d: the other replica signed with the revoked key", i)
		}
		for _, kid := range b.published("acme") {
			if kid == signed.KID {
				t.Fatalf("%d: the other replica serves the revoked key", i)
			}
		}
	}
}

// A process that does not confirm is named, and waited for no longer than was said. An
// answer without the preference knows of the answering process alone.
func TestUnconfirmedReplicasAreNamed(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	dbtest.Exec(t, w.dsn, `INSERT INTO processes (id, name, kind, version, address, master_keys, clock_offset_microseconds, confirmed_until, heard_at)
		VALUES (gen_random_uuid(), 'stopped/1', 'serve', 'test', '', '{}', 0, now(), now() + interval '1 hour')`)
	began := time.Now()
	var r RotateResult
	a := w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "", "Prefer", "respond-async, wait=1").ok(200, &r)
	if r.Replicas == nil || r.Replicas.Live != 2 || r.Replicas.Confirmed != 1 || !slices.Equal(r.Replicas.Unconfirmed, []string{"stopped/1"}) {
		t.Errorf("%+v", r.Replicas)
	}
	if took := time.Since(began); took < time.Second || took > 10*time.Second {
		t.Errorf("waited %v", took)
	}
	if a.Header.Get("Preference-Applied") != "wait=1" {
		t.Errorf("%v", a.Header)
	}
	// Known without asking: the rows of the last heartbeat.
	var revoked RevokeResult
	w.do("POST", "/v1/tenants/acme/keys/revoke", w.root, `{"reason":"superseded"}`).ok(200, &revoked)
	if revoked.Replicas == nil || revoked.Replicas.Live != 2 || revoked.Replicas.Confirmed != 1 {
		t.Errorf("%+v", revoked.Replicas)
	}
	var all RevokeAllResult
	w.do("POST", "/v1/tenants/acme/keys/revoke-all", w.root, `{"reason":"superseded"}`).ok(200, &all)
	if all.Replicas == nil || all.Replicas.Confirmed != 1 {
		t.Errorf("%+v", all.Replicas)
	}
	// Other answers do not have the member unless it was asked for.
	var plain RotateResult
	if a := w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200, &plain); plain.Replicas != nil || a.Header.Get("Keyward-Replicas") != "" {
		t.Errorf("%+v %v", plain.Replicas, a.Header)
	}
	// A preference that is none is ignored; dry runs and reads do not wait.
	for _, step := range []struct{ method, path, body, prefer string }{
		{"POST", "/v1/tenants/acme/keys/rotate", ``, "wait=soon"},
		{"POST", "/v1/tenants/acme/keys/rotate", ``, "wait=-1"},
		{"POST", "/v1/tenants/acme/keys/rotate?dry_run=true", ``, "wait=5"},
		{"POST", "/v1/tenants/acme/keys/revoke?dry_run=true", `{"reason":"compromised"}`, "wait=5"},
		{"GET", "/v1/tenants/acme", ``, "wait=5"},
		{"POST", "/v1/tenants/acme/tokens", `{"claims":{}}`, "wait=5"},
	} {
		a := w.do(step.method, step.path, w.root, step.body, "Prefer", step.prefer).ok(200)
		if a.Header.Get("Preference-Applied") != "" || a.Header.Get("Keyward-Replicas") != "" {
			t.Errorf("%s %s, %s: %v", step.method, step.path, step.prefer, a.Header)
		}
	}
}

// A change that nobody waits for asks no process to confirm it, so that it costs no write more;
// one that somebody waits for asks once.
func TestAChangeThatNobodyWaitsForAsksNobody(t *testing.T) {
	w := newWorld(t)
	w.replica(t)
	w.tenant("acme")
	conn, err := pgx.Connect(t.Context(), w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "LISTEN keyward_confirm"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		headers []string
		asks    int
	}{{nil, 0}, {[]string{"Prefer", "wait=5"}, 1}} {
		w.do("PATCH", "/v1/tenants/acme", w.root, body(map[string]string{"name": fmt.Sprint(c.asks)}), c.headers...).ok(200)
		if _, err := conn.Exec(t.Context(), "NOTIFY keyward_confirm, 'end'"); err != nil {
			t.Fatal(err)
		}
		asks := 0
		for {
			n, err := conn.WaitForNotification(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n.Payload == "end" {
				break
			}
			if strings.HasPrefix(n.Payload, "ask ") {
				asks++
			}
		}
		if asks != c.asks {
			t.Errorf("with %q processes were asked %d times, want %d", c.headers, asks, c.asks)
		}
	}
}

// Every change can wait, whatever its answer is, and a repeated one again.
func TestEveryChangeCanWait(t *testing.T) {
	w := newWorld(t)
	b, _ := w.replica(t)
	for b.listener.HeardUntil().IsZero() { // until it is registered it cannot sign from memory
		if err := db.Pause(t.Context(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	w.do("GET", "/v1/tenants/acme", w.root, "").problem(ProblemCodeTenantNotFound)
	for i, step := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/tenants", `{"slug":"acme"}`, 201},
		{"PATCH", "/v1/tenants/acme", `{"name":"x"}`, 200},
		{"PUT", "/v1/tenants/acme/policies/ES384", `{}`, 201},
		{"DELETE", "/v1/tenants/acme/policies/ES384", ``, 204},
		{"POST", "/v1/tenants/acme/api-keys", `{"role":"tenant_signer"}`, 201},
		{"POST", "/v1/tenants/acme/keys/purge", ``, 200},
		{"POST", "/v1/tenants/acme/data-key/rotate", ``, 200},
		{"DELETE", "/v1/tenants/acme", ``, 204},
	} {
		headers := append(once(fmt.Sprint(i)), "Prefer", "wait=5")
		for _, replayed := range []string{"", "true"} {
			a := w.do(step.method, step.path, w.root, step.body, headers...).ok(step.status)
			if a.Header.Get("Idempotent-Replayed") != replayed {
				t.Errorf("%s %s: replayed %q", step.method, step.path, a.Header.Get("Idempotent-Replayed"))
			}
			if step.path == "/v1/tenants/acme/keys/purge" {
				continue // nothing to purge: no change
			}
			if a.Header.Get("Keyward-Replicas") != "live=2, confirmed=2" || a.Header.Get("Preference-Applied") != "wait=5" {
				t.Errorf("%s %s: %v", step.method, step.path, a.Header)
			}
			var body struct{ Replicas *Replicas }
			if step.status != 204 {
				if a.ok(step.status, &body); body.Replicas == nil || body.Replicas.Confirmed != 2 {
					t.Errorf("%s %s: %s", step.method, step.path, a.body)
				}
			}
		}
		if i == 0 {
			b.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
		}
	}
	b.do("GET", "/t/acme/.well-known/jwks.json", "", "").problem(ProblemCodeTenantNotFound)
}
