package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// block is what is between two empty lines of a stream.
type block struct {
	id, event, data, comment, retry string
}

// listening is a client of a stream (WHATWG HTML section 9.2.6).
type listening struct {
	t     testing.TB
	res   *http.Response
	body  *bufio.Reader
	id    string // the last
	leave func()
}

// listenTo opens a stream and reads its first block. What was read is held
// against the document when the client leaves.
func (w *world) listenTo(url, key, after string) *listening {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	var read bytes.Buffer
	l := &listening{t: w.t, res: res, body: bufio.NewReader(io.TeeReader(res.Body, &read))}
	l.leave = sync.OnceFunc(func() {
		cancel()
		res.Body.Close()
		w.contract.check(w.t, r, &answer{t: w.t, Response: res, body: read.Bytes()})
	})
	w.t.Cleanup(l.leave)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" ||
		res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("X-Accel-Buffering") != "no" {
		w.t.Fatalf("%s: %d %v", url, res.StatusCode, res.Header)
	}
	if b := l.block(); b.retry != "2000" || b.id == "" || after != "" && b.id != after || b.event+b.data != "" {
		w.t.Errorf("the stream began with %+v", b)
	}
	return l
}

// block reads to the next empty line; the end of the stream fails the test.
func (l *listening) block() (b block) {
	l.t.Helper()
	for {
		line, err := l.body.ReadString('\n')
		if err != nil {
			l.t.Fatalf("the stream broke off: %v", err)
		}
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			return b
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			b.id, l.id = value, value
		case "event":
			b.event = value
		case "data":
			b.data = value
		case "retry":
			b.retry = value
		case "":
			b.comment = value
		default:
			l.t.Fatalf("line %q", line)
		}
	}
}

// next reads the next event.
func (l *listening) next() (e AuditEvent) {
	l.t.Helper()
	b := l.block()
	for b.data == "" && b.comment == "" {
		b = l.block()
	}
	if err := json.Unmarshal([]byte(b.data), &e); err != nil {
		l.t.Fatalf("%+v: %v", b, err)
	}
	if b.event != string(e.Action) || b.id == "" {
		l.t.Errorf("%+v", b)
	}
	return e
}

// ends demands that the stream ends now, and that it says so.
func (l *listening) ends(why ended) {
	l.t.Helper()
	if b := l.block(); b.comment != string(why) {
		l.t.Errorf("ended with %+v, want %s", b, why)
	}
	if rest, err := io.ReadAll(l.body); err != nil || len(rest) > 0 {
		l.t.Errorf("behind the end: %q, %v", rest, err)
	}
}

func (w *world) tenantEvents(slug string) string { return w.url + "/v1/tenants/" + slug + "/events" }

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
			k, key, err := w.tenants.CreateAPIKey(t.Context(), operator, c.n, nil)
			if err != nil {
				t.Fatal(err)
			}
			l := w.listenTo(w.tenantEvents("acme"), key, "")
			w.do("DELETE", c.path+k.ID.String(), w.root, "").ok(204)
			l.ends(noCredential)
			w.do("GET", "/v1/tenants/acme/events", key, "", "Last-Event-ID", l.id).problem(ProblemCodeUnauthenticated)
		})
	}
}

func TestStreamEndsWithItsTenant(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	own, platform := w.listenTo(w.tenantEvents("acme"), w.key(tenant.TenantAdmin, &acme.ID), ""), w.listenTo(w.tenantEvents("acme"), w.root, "")
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	own.ends(noCredential)
	for platform.next().Action != AuditAction(audit.TenantDeleted) {
	}
	for last := false; !last; {
		b := platform.block()
		last = b.comment == string(noTenant)
		if b.data == "" && !last {
			t.Errorf("ended with %+v", b)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	w := newWorldWith(t, dbtest.New(t), Streams{Heartbeat: 20 * time.Millisecond})
	acme := w.tenant("acme")
	soon := w.clock.now().Add(time.Hour)
	_, key, err := w.tenants.CreateAPIKey(t.Context(), operator, tenant.NewAPIKey{
		TenantID: &acme.ID, Role: tenant.TenantAuditor, Name: "short-lived", ExpiresAt: &soon,
	}, nil)
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
