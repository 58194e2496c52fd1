package httpapi

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// A tenant that moves in keeps the path of its JWK Set and what verifiers and CDNs read
// from its headers: below the issuer, by id and on its domain, with the same answer as
// at the standard path.
func TestAPathAndHeadersOfOnesOwn(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.tenant("other")
	const path = "/v1/tenants/acme"
	var updated Tenant
	w.do("PATCH", path, w.root, `{"jwks_path":"auth/keys","jwks_headers":{"x-robots-tag":"noindex","Surrogate-Key":"jwks acme"},
		"custom_domain":"id.acme.example","issuer":"https://id.acme.example/realms/acme"}`).ok(200, &updated)
	if valueOr(updated.JWKSPath, "") != "auth/keys" || updated.JWKSHeaders["X-Robots-Tag"] != "noindex" || len(updated.JWKSHeaders) != 2 {
		t.Errorf("%v %v", valueOr(updated.JWKSPath, ""), updated.JWKSHeaders)
	}
	standard := w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
	at := func(method, host, path string, headers ...string) *answer { // the document does not know these paths
		return w.spoken(method + " " + path + " HTTP/1.1\r\nHost: " + cmp.Or(host, "keys.example") + "\r\nConnection: close\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n")
	}
	for _, method := range []string{"GET", "HEAD"} {
		for _, c := range [][2]string{
			{"", "/t/acme/auth/keys"},
			{"", "/t/" + acme.ID.String() + "/auth/keys"},
			{"id.acme.example", "/auth/keys"},
			{"id.acme.example", "/realms/acme/auth/keys"},
			{"id.acme.example", "/.well-known/jwks.json"},
		} {
			a := at(method, c[0], c[1]).ok(200)
			for _, name := range []string{"Etag", "Cache-Control", "Content-Type", "Last-Modified", "X-Robots-Tag", "Surrogate-Key", "Access-Control-Allow-Origin"} {
				if a.Header.Get(name) != standard.Header.Get(name) || a.Header.Get(name) == "" {
					t.Errorf("%s %v: %s is %q, want %q", method, c, name, a.Header.Get(name), standard.Header.Get(name))
				}
			}
			if method == "GET" && string(a.body) != string(standard.body) {
				t.Errorf("%v: %s", c, a.body)
			}
		}
	}
	tag := standard.Header.Get("Etag")
	if a := at("GET", "", "/t/acme/auth/keys", "If-None-Match: "+tag+"\r\n"); a.StatusCode != http.StatusNotModified || a.Header.Get("X-Robots-Tag") != "noindex" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if a := at("OPTIONS", "", "/t/acme/auth/keys"); a.StatusCode != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight: %d %v", a.StatusCode, a.Header)
	}
	for _, c := range [][2]string{
		{"", "/auth/keys"},
		{"", "/t/other/auth/keys"},
		{"", "/t/nobody/auth/keys"},
		{"", "/t/acme/auth/keys/"},
		{"", "/t/acme/auth"},
		{"", "/t/acme/xauth/keys"},
		{"", "/t/acme/auth%2Fkeys"},
		{"", "/t/acme/realms/acme/auth/keys"},
		{"id.acme.example", "/realms/auth/keys"},
		{"id.other.example", "/auth/keys"},
		{"", "/t/acme/AUTH/keys"},
	} {
		at("GET", c[0], c[1]).problem(ProblemCodeNotFound)
	}
	w.do("POST", "/t/acme/auth/keys", "", "").problem(ProblemCodeNotFound)

	w.do("PATCH", path, w.root, `{"jwks_headers":{"x-robots-tag":"noindex"}}`).ok(200)
	if a := w.do("GET", "/t/acme/.well-known/jwks.json", "", "", "If-None-Match", tag).ok(200); a.Header.Get("Surrogate-Key") != "" {
		t.Errorf("%v", a.Header) // a 304 would leave the header in caches
	}
	w.do("PATCH", path, w.root, `{"jwks_path":null,"jwks_headers":null}`).ok(200)
	var cleared Tenant
	w.do("GET", path, w.root, "").ok(200, &cleared)
	if cleared.JWKSPath != nil || cleared.JWKSHeaders != nil {
		t.Errorf("%v %v", cleared.JWKSPath, cleared.JWKSHeaders)
	}
	w.do("GET", "/t/acme/auth/keys", "", "").problem(ProblemCodeNotFound)
	var made Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"third","jwks_path":"jwks","jwks_headers":{"X-A":"b"}}`).ok(201, &made)
	at("GET", "", "/t/third/jwks").ok(200)
}

// No path of a tenant hides, now or in a later version, one that this service has
// itself, on any host.
func TestOwnPathsHideNothing(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	doc, err := readDocument()
	if err != nil {
		t.Fatal(err)
	}
	refused := func(path string) {
		t.Helper()
		body, _ := json.Marshal(map[string]string{"jwks_path": path})
		if p := w.do("PATCH", "/v1/tenants/acme", w.root, string(body)).problem(ProblemCodeInvalidRequest); p.Errors == nil || p.Errors[0].Field != "jwks_path" {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for path := range doc.Paths.Map() {
		first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		for _, text := range []string{first, strings.ToUpper(first), first + "/keys"} {
			refused(text)
		}
	}
	for _, path := range []string{"/keys", "keys/", "a//b", "..", "a/../v1", "./a", "a/.", "a b", "a%2fb", "a?b", "a#b", "ä", "console", "metrics/keys", strings.Repeat("a", 201), "a\\b", "a:b", "a;b"} {
		refused(path)
	}
}

// A header that Keyward, the connection, a cache, a browser or a proxy goes by cannot be
// set, in any spelling; nor can one be smuggled in.
func TestHeadersThatATenantCannotSet(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	refused := func(name, value string) {
		t.Helper()
		body, _ := json.Marshal(map[string]any{"jwks_headers": map[string]string{name: value}})
		w.do("PATCH", "/v1/tenants/acme", w.root, string(body)).problem(ProblemCodeInvalidRequest)
	}
	set := w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
	for name := range set.Header { // what it has already
		refused(name, "x")
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Connection", "Proxy-Authenticate", "Content-Encoding", "Content-Type", "Content-Security-Policy",
		"set-cookie", "Strict-Transport-Security", "X-Frame-Options", "Access-Control-Allow-Credentials", "Cross-Origin-Resource-Policy", "Clear-Site-Data", "Cache-Control", "CDN-Cache-Control",
		"Cloudflare-CDN-Cache-Control", "Surrogate-Control", "Expires", "Age", "Vary", "Location", "Refresh", "X-Accel-Redirect", "X-Sendfile", "WWW-Authenticate", "Keyward-Not-Before", "Keyward-Stale", "Date", "Sec-GPC",
		"Link", "Service-Worker-Allowed", "SourceMap", "Speculation-Rules",
	} {
		refused(name, "x")
		refused(strings.ToLower(name), "x")
	}
	for _, name := range []string{"", "a b", "a:b", "a\r\nSet-Cookie", "ä", "a_b", strings.Repeat("a", 65)} {
		refused(name, "x")
	}
	for _, value := range []string{"", " x", "x ", "a\r\nb: c", "a\x00", "ä", strings.Repeat("a", 1001)} {
		refused("X-A", value)
	}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"jwks_headers":{"X-A":"1","x-a":"2"}}`).problem(ProblemCodeInvalidRequest)
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"jwks_headers":{"X-A":1}}`).problem(ProblemCodeInvalidRequest)
	if a := w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200); a.Header.Get("Etag") != set.Header.Get("Etag") {
		t.Error("something was changed")
	}
}
