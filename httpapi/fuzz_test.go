package httpapi

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/tenant"
)

// Whatever a client sends as If-None-Match or Accept, an answer comes of it;
// and a tag that is not in the list is never found there.
func FuzzPublicHeaders(f *testing.F) {
	for _, seed := range []string{`"a", W/"b"`, `*`, `"a,b`, `application/jwk-set+json;q=0.5, */*`, `;;q=,,`, `W/W/"a"`, "application/jwk-set+json"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		const etag = `"0123456789"`
		if matchesETag([]string{line}, etag) && !strings.Contains(line, etag) && strings.TrimSpace(line) != "*" {
			t.Errorf("%q matches", line)
		}
		if prefersJWKSet([]string{line}) && !strings.Contains(strings.ToLower(line), "application/jwk-set+json") {
			t.Errorf("%q prefers a JWK Set", line)
		}
		if best := chooseType([]string{line}, "application/json", mimePEM); best != "" && best != "application/json" && best != mimePEM {
			t.Errorf("%q: %s", line, best)
		}
	})
}

// Whatever a client prefers, the wait is within its bounds, and a representation is sent
// only to clients that name it.
func FuzzPrefer(f *testing.F) {
	for _, seed := range []string{"wait=5", "wait=-1", "wait=99999999999999999999", `wait="3";x=1, return=representation`, "respond-async, wait=0", "wait", "=,;=", "WAIT = 2", "return=minimal"} {
		f.Add(seed, "")
		f.Add("", seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}
		if wait, has := preferredWait(lines); wait < 0 || wait > maxWait || has && !strings.Contains(strings.ToLower(first+second), "wait") {
			t.Errorf("%q: %v, %t", lines, wait, has)
		}
		if prefersRepresentation(lines) && !strings.Contains(first+second, "representation") {
			t.Errorf("%q", lines)
		}
	})
}

// A Host that leads to a tenant's domain is a domain in one spelling, whatever its port.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"id.acme.example", "ID.ACME.example.:443", "[::1]:80", "1.2.3.4", "a..b", "xn--bcher-kva.example", "\u212Aeys.example", "a:b:c", "id.acme.example:99999", "%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		domain := domainOf(host)
		if domain == "" {
			return
		}
		if !tenant.IsDomain(domain) || domainOf(domain) != domain || domainOf(domain+".:443") != domain || len(domain) > len(host) || !strings.HasPrefix(strings.ToLower(host), domain) {
			t.Errorf("%q is %q", host, domain)
		}
	})
}

// A list of trusted proxies is refused, or consists of networks that are not everybody.
func FuzzParseProxies(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8, 2001:db8::/32", "192.0.2.1", "::ffff:10.0.0.0/104", "0.0.0.0/0", "10.0.0.1/8", "fe80::1%eth0", ",", "10.0.0.0/08"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		networks, err := ParseProxies(text)
		for _, n := range networks {
			if again, err := ParseProxies(n.String()); err != nil || len(again) != 1 || again[0] != n || n.Bits() == 0 || n != n.Masked() || n.Addr().Is4In6() {
				t.Errorf("%q: %v, which is %v, %v", text, n, again, err)
			}
		}
		if err != nil && networks != nil {
			t.Errorf("%q: %v and %v", text, networks, err)
		}
	})
}

// A rate is refused or has a burst and an interval in its bounds.
func FuzzParseRate(f *testing.F) {
	for _, seed := range []string{"100/s", "6000/m:1", "0/h", "9999999/s", "1000000/s:1000000", "1/s:0", "-1/s", "1/d", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := ParseRate(text); err == nil && r != (Rate{}) && (r.Burst < 1 || r.Burst > maxRate || r.Every < time.Second/maxRate || r.Every > time.Hour) {
			t.Errorf("%q: %+v", text, r)
		}
	})
}

// FuzzRequests sends any target and any header to the whole API, as an administrator of the
// platform and as nobody: paths, kids, ids, cursors, filters, searches. Nothing makes the
// server fail, and what only reads changes nothing.
func FuzzRequests(f *testing.F) {
	w := newWorld(f)
	w.tenant("acme")
	kid := w.keys("acme", KeyStateActive)[0].KID
	for _, target := range []string{
		"/v1/tenants?q=%25_%5C'&limit=1", "/v1/tenants?q=%F0%9F%98%80%20(a%20%7C%20b)%20:*!", "/v1/tenants?cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "/v1/tenants/acme/keys/" + kid,
		"/v1/tenants/acme/keys/%00", "/v1/tenants/acme/keys/a%2Fb?x", "/v1/tenants/acme/keys?valid_at=2026-01-01T00:00:00Z&state=active", "/v1/tenants/acme/keys?cursor=MTc2MyB4&alg=ES256",
		"/v1/tenants/acme/audit?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59.999999999Z&actor=x&kid=%FF", "/v1/audit?tenant=acme&action=key.created&order=asc", "/v1/jwks-feed?since=AgAA",
		"/v1/jwks-feed?since=AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "/v1/tenants/acme/webhooks/x/deliveries?status=failed", "/v1/tenants/acme/domains?cursor=YS5i", "/v1/tenants/acme/domains/%E2%84%AA.x/verify",
		"/v1/checkpoint?tenant=acme", "/t/acme/.well-known/jwks.json?x=1", "/t/%61cme/.well-known/jwks-history", "/.well-known/oauth-authorization-server/t/acme", "/docs/../x", "//", "/%", "*", "/v1/tenants;x",
		"/v1/tenants/acme/audit?cursor=gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "/v1/tenants/acme/approvals?status=pending&cursor=%00", "/console/?x=%00", "/console/t/acme/k/%2e%2e",
	} {
		for _, header := range []string{"Accept: text/csv;q=0.1, application/x-ndjson", "X-Forwarded-For: 1.1.1.1"} {
			f.Add(target, header)
		}
	}
	for _, header := range []string{
		"Accept: ;q=", "If-None-Match: W/\"", "Range: bytes=0-", "Last-Event-ID: \xff", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Forwarded: for=\"[::1", "Host: id.acme.example:x",
		"Idempotency-Key: \x7f", "X-Request-Id: a b", "Cookie: kw=\"", "Expect: 100-continue", "Content-Length: 5", "Accept-Encoding: gzip;q=0, *", "Origin: null", "Prefer: wait=5",
	} {
		f.Add("/v1/tenants/acme/keys", header)
		f.Add("/.well-known/jwks.json", header)
	}
	f.Fuzz(func(t *testing.T, target, header string) {
		w := w.in(t)
		if strings.Contains(target, "events") { // streams do not end
			return
		}
		for _, key := range []string{w.root, ""} {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: keys.example.com\r\nAuthorization: Bearer " + key + "\r\n" + header + "\r\n\r\n")))
			if err != nil || r.Header.Get("Authorization") != "Bearer "+key && key != "" {
				return
			}
			a := httptest.NewRecorder()
			w.server.ServeHTTP(a, r)
			if a.Code >= 500 || a.Code < 200 {
				t.Errorf("%d %s", a.Code, a.Body)
			}
			if a.Code < 300 && key == "" && strings.HasPrefix(r.URL.Path, "/v1") {
				t.Errorf("%s: %d without a credential", target, a.Code)
			}
		}
	})
}
