package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/tenant"
)

func TestLimiter(t *testing.T) {
	l, now := newLimiter[string](Rate{3, time.Second}), age.Now()
	for i, want := range []time.Duration{0, 0, 0, time.Second, time.Second} {
		if got := l.take("a", now); got != want {
			t.Errorf("%d: %s", i, got)
		}
	}
	if l.take("b", now) != 0 || l.take("a", now.Step(time.Second)) != 0 || l.take("a", now.Step(1500*time.Millisecond)) != 500*time.Millisecond {
		t.Error("buckets are mixed up or do not fill")
	}
	if wait := l.take("a", now.Step(-time.Hour)); wait > 3*time.Second {
		t.Errorf("a clock that was set back limits for %s", wait)
	}
}

// However many others come, who is being refused and goes on asking stays
// refused, and the memory stays bounded.
func TestLimiterUnderManyKeys(t *testing.T) {
	l, now := newLimiter[string](Rate{3, time.Hour}), age.Now()
	for range 3 {
		l.take("loud", now)
	}
	for i := range 4 * limiterShards * bucketsPerShard {
		l.take(fmt.Sprint(i), now)
		if i%100 == 0 && l.take("loud", now) == 0 {
			t.Fatalf("forgiven after %d others", i)
		}
	}
	kept := 0
	for i := range l.shards {
		kept += len(l.shards[i].recent) + len(l.shards[i].old)
	}
	if kept > 2*limiterShards*bucketsPerShard {
		t.Errorf("%d buckets", kept)
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"": {}, "100/s": {100, 10 * time.Millisecond}, "6000/m": {6000, 10 * time.Millisecond}, "100/s:200": {200, 10 * time.Millisecond},
		"1/h:5": {5, time.Hour}, "3/s": {3, 333333334}, "1000000/s": {1000000, time.Microsecond},
	} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"100", "0/s", "-1/s", "1/d", "1/s:", "1/s:0", "1.5/s", "1000001/s", "1/s:1000001", "9999999999/s", " 1/s", "1/s\n"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestRateLimitByCredential(t *testing.T) {
	w := newWorldLike(t, dbtest.New(t), func(c *Config) { c.RateLimits.Credential = Rate{3, time.Minute} })
	key, other := w.key(tenant.PlatformAuditor, nil), w.key(tenant.PlatformAuditor, nil)
	for range 3 {
		w.do("GET", "/v1/tenants", key, "").ok(200)
	}
	a := w.do("GET", "/v1/tenants", key, "")
	a.problem(ProblemCodeRateLimited)
	if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || wait < 1 || wait > 60 {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	w.do("DELETE", "/v1/tenants/platform", key, "").problem(ProblemCodeRateLimited) // before its role is looked at
	w.do("GET", "/v1/tenants", other, "").ok(200)
	w.do("GET", "/.well-known/jwks.json", "", "").ok(200)
	w.clock.pass(time.Minute)
	w.do("GET", "/v1/tenants", key, "").ok(200)
	if m := w.do("GET", "/metrics", "", ""); !strings.Contains(string(m.body), `keyward_http_limited_requests_total{limit="credential"} 2`) {
		t.Error("limited requests are not counted")
	}
}

// Each operation answers 429, but those about health.
func TestRateLimitByAddress(t *testing.T) {
	proxies, err := ParseProxies("127.0.0.1,::1")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldLike(t, dbtest.New(t), func(c *Config) {
		c.RateLimits.Address, c.TrustedProxies = Rate{1, time.Hour}, proxies
	})
	from := func(client string) []string { return []string{"X-Forwarded-For", "1.2.3.4, " + client} }
	w.do("GET", "/.well-known/jwks.json", "", "", from("2001:db8::1")...).ok(200)
	for path, item := range document(t).Paths.Map() {
		for method, op := range item.Operations() {
			path := strings.NewReplacer("{tenant}", "platform", "{kid}", "none", "{alg}", "ES256", "{id}", "00000000-0000-7000-8000-000000000000").Replace(path)
			a := w.do(method, path, "", "", from("2001:db8::2")...) // another address of the same network
			if op.OperationID == "healthz" || strings.HasPrefix(op.OperationID, "readyz") {
				a.ok(200)
				continue
			}
			wait, err := strconv.Atoi(a.Header.Get("Retry-After")) // an hour, less what this loop has taken
			if a.StatusCode != http.StatusTooManyRequests || err != nil || wait < 3000 || wait > 3600 || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %v", op.OperationID, a.StatusCode, a.Header)
			}
			if strings.HasPrefix(path, "/t/") && a.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: scripts cannot read why they are refused", op.OperationID)
			}
		}
	}
	w.do("GET", "/none", "", "", from("2001:db8::1")...).problem(ProblemCodeRateLimited)
	w.do("GET", "/.well-known/jwks.json", "", "", from("203.0.113.1")...).ok(200)
	w.do("GET", "/.well-known/jwks.json", "", "", from("203.0.113.1")...).problem(ProblemCodeRateLimited)
	if !strings.Contains(w.log.String(), `"client":"203.0.113.1"`) {
		t.Error("the log does not name the client")
	}
}

// One client's wrong keys do not keep another from failing: they are told
// apart behind a proxy too.
func TestFailuresAreCountedByClient(t *testing.T) {
	proxies, err := ParseProxies("127.0.0.1,::1")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldLike(t, dbtest.New(t), func(c *Config) { c.TrustedProxies = proxies })
	limited := false
	for range 40 {
		limited = limited || w.do("GET", "/v1/tenants", "rubbish", "", "Forwarded", "for=203.0.113.1").StatusCode == 429
	}
	if !limited {
		t.Error("never limited")
	}
	w.do("GET", "/v1/tenants", "rubbish", "", "Forwarded", "for=203.0.113.2").problem(ProblemCodeUnauthenticated)
}
