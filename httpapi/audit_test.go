package httpapi

import (
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// A chain may be long: the limit of the server for an answer is over long
// before this one begins.
func TestVerifyingTakesItsTime(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	s := httptest.NewUnstartedServer(w.server)
	s.Config.WriteTimeout = time.Nanosecond
	s.Start()
	t.Cleanup(s.Close)
	w.url = s.URL
	var v AuditVerification
	if w.do("GET", "/v1/tenants/acme/audit/verify", w.root, "").ok(200, &v); !v.Intact || v.Events == 0 {
		t.Errorf("%+v", v)
	}
}

// The states of a tenant are among those that a history is asked for.
func TestAuditByTheTenantsState(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"status":"suspended"}`).ok(200)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"status":"active"}`).ok(200)
	for state, want := range map[string][]string{
		"suspended": {"tenant.suspended"},
		"active":    {"key.activated", "tenant.resumed"},
	} {
		for _, path := range []string{"/v1/tenants/acme/audit?order=asc&state=", "/v1/audit?order=asc&tenant=acme&state="} {
			var list AuditEventList
			w.do("GET", path+state, w.root, "").ok(200, &list)
			var got []string
			for _, e := range list.Items {
				got = append(got, string(e.Action))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s%s: %v, not %v", path, state, got, want)
			}
		}
	}
}
