package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
)

// signsBy waits until another replica answers a request for a token with a
// status, asking again whenever it has heard of a change.
func (w *world) signsBy(told <-chan struct{}, slug string, status int) {
	w.t.Helper()
	for late := time.After(30 * time.Second); w.do("POST", "/v1/tenants/"+slug+"/tokens", w.root, `{"claims":{}}`).StatusCode != status; {
		select {
		case <-told: // perhaps of something earlier
		case <-late:
			w.t.Fatalf("the other replica never answers %d", status)
		}
	}
}

// Suspension stops signing on every replica, in each of its forms, and nothing
// else: verifiers notice nothing, and the schedule goes on.
func TestSuspendOnTwoReplicas(t *testing.T) {
	first := newWorldOn(t, dbtest.New(t)) // has the database, and no part in this
	first.tenant("acme")
	here, heardHere := first.replica(t)
	there, heardThere := first.replica(t)
	both := []*world{here, there}
	token := here.sign("acme", `{"claims":{}}`).Token
	there.sign("acme", `{"claims":{}}`) // it has all in memory that it needs

	here.do("PATCH", "/v1/tenants/acme", here.root, `{"status":"suspended"}`).ok(200)
	here.do("POST", "/v1/tenants/acme/tokens", here.root, `{"claims":{}}`).problem(ProblemCodeTenantSuspended)
	there.signsBy(heardThere, "acme", http.StatusConflict)
	for _, w := range both {
		for path, body := range map[string]string{"tokens": `{"claims":{}}`, "tokens/batch": `{"tokens":[{"claims":{}}]}`, "sign": `{"payload":"SGVsbG8"}`} {
			w.do("POST", "/v1/tenants/acme/"+path, w.root, body).problem(ProblemCodeTenantSuspended)
		}
		for _, path := range []string{"/t/acme/.well-known/jwks.json", "/t/acme/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/acme"} {
			w.do("GET", path, "", "").ok(200)
		}
		if v := w.judge("acme", token); !v.Valid {
			t.Errorf("%+v", v)
		}
	}
	there.rotatesWhenDue("acme")
	there.do("POST", "/v1/tenants/acme/keys/rotate", there.root, "").ok(200)

	there.do("PATCH", "/v1/tenants/acme", there.root, `{"status":"active"}`).ok(200)
	there.do("POST", "/v1/tenants/acme/tokens", there.root, `{"claims":{}}`).ok(200)
	here.signsBy(heardHere, "acme", http.StatusOK)
}

// rotatesWhenDue demands that the schedule goes on a month later.
func (w *world) rotatesWhenDue(slug string) {
	w.t.Helper()
	before := w.keys(slug, KeyStateActive)[0].KID
	w.clock.pass(32 * 24 * time.Hour)
	if _, err := w.store.RunDue(w.t.Context(), operator, 100); err != nil {
		w.t.Fatal(err)
	}
	if after := w.keys(slug, KeyStateActive)[0].KID; after == before {
		w.t.Error("no rotation while suspended")
	}
}
