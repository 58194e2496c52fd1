package httpapi

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

func TestStreamEndsWithItsCredential(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	soon := w.clock.now().Add(time.Hour)
	for name, c := range map[string]struct {
		n    tenant.NewAPIKey
		path string
	}{
		"a tenant's":     {tenant.NewAPIKey{TenantID: &acme.ID, Role: tenant.TenantAuditor, ExpiresAt: &soon}, "/v1/tenants/acme/api-keys/"},
		"the platform's": {tenant.NewAPIKey{Role: tenant.PlatformAuditor, ExpiresAt: &soon}, "/v1/api-keys/"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			c.n.Name = name
			k, key, err := w.tenants.CreateAPIKey(t.Context(), operator, c.n)
			if err != nil {
				t.Fatal(err)
			}
			l := w.listenTo(w.tenantEvents("acme"), key, "")
			w.do("DELETE", c.path+k.ID.String(), w.root, "").ok(204)
			b := l.block()
			if b.event == string(audit.APIKeyRevoked) { // a look that had begun may still tell of it
				b = l.block()
			}
			l.endsWith(b, noCredential)
			w.do("GET", "/v1/tenants/acme/events", key, "", "Last-Event-ID", l.id).problem(ProblemCodeUnauthenticated)
		})
	}
}

func TestStreamEndsWithItsTenant(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	readers := []*listening{
		w.listenTo(w.tenantEvents("acme"), w.key(tenant.TenantAdmin, &acme.ID), ""), // whose credential ends too
		w.listenTo(w.tenantEvents("acme"), w.root, ""),
	}
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	for _, l := range readers {
		for l.next().Action != AuditAction(audit.TenantDeleted) {
		}
		for last := false; !last; {
			b := l.block()
			last = b.comment == string(noTenant)
			if b.data == "" && !last {
				t.Errorf("ended with %+v", b)
			}
		}
	}
}

func TestHeartbeat(t *testing.T) {
	w := newWorldWith(t, dbtest.New(t), Streams{Heartbeat: 20 * time.Millisecond})
	acme := w.tenant("acme")
	soon := w.clock.now().Add(time.Hour)
	_, key, err := w.tenants.CreateAPIKey(t.Context(), operator, tenant.NewAPIKey{
		TenantID: &acme.ID, Role: tenant.TenantAuditor, Name: "short-lived", ExpiresAt: &soon,
	})
	if err != nil {
		t.Fatal(err)
	}
	// The limits of a server are for requests that end.
	s := httptest.NewUnstartedServer(w.server)
	s.Config.ReadTimeout, s.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	s.Start()
	t.Cleanup(s.Close)
	l := w.listenTo(s.URL+"/v1/tenants/acme/events", key, "")
	for began := time.Now(); time.Since(began) < 500*time.Millisecond; {
		if b := l.block(); b != (block{}) {
			t.Errorf("a heartbeat of %+v", b)
		}
	}
	w.clock.pass(2 * time.Hour)
	b := l.block()
	for b == (block{}) {
		b = l.block()
	}
	if b.comment != string(noCredential) {
		t.Errorf("ended with %+v", b)
	}
}

func TestStreamsEndWhenTheProcessStops(t *testing.T) {
	stop := make(chan struct{})
	w := newWorldWith(t, dbtest.New(t), Streams{Stop: stop})
	l := w.listenTo(w.url+"/v1/events", w.root, "")
	close(stop)
	for {
		if b := l.block(); b.comment == string(shuttingDown) {
			return
		} else if b.comment != "" {
			t.Fatalf("ended with %+v", b)
		}
	}
}

func TestStreamsAreCounted(t *testing.T) {
	w := newWorldWith(t, dbtest.New(t), Streams{Most: 2})
	acme := w.tenant("acme")
	key := w.key(tenant.TenantAuditor, &acme.ID)
	w.listenTo(w.tenantEvents("acme"), key, "")
	if a := w.do("GET", "/v1/tenants/acme/events", key, ""); a.problem(ProblemCodeRateLimited).Status != 429 || a.Header.Get("Retry-After") == "" {
		t.Errorf("%v", a.Header)
	}
	w.listenTo(w.url+"/v1/events", w.root, "")
	if a := w.do("GET", "/v1/events", w.root, ""); a.problem(ProblemCodeUnavailable).Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("%v", a.Header)
	}
	if a := w.do("GET", "/metrics", "", ""); !strings.Contains(string(a.body), "\nkeyward_event_streams 2\n") {
		t.Error("the streams are not counted")
	}
}
