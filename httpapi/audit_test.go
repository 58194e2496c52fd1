package httpapi

import (
	"net/http/httptest"
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
