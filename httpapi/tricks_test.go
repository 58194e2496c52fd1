package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// spoken sends a request as it is written, which net/http's client would tidy up.
func (w *world) spoken(text string) *answer {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // for a test that fails
	if _, err := io.WriteString(conn, text); err != nil {
		w.t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("%.100q: %v", text, err)
	}
	defer res.Body.Close()
	a := &answer{t: w.t, Response: res}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) spell(method, target string, headers ...string) *answer {
	w.t.Helper()
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: x", "Connection: close", "Authorization: Bearer " + w.root}, headers...)
	return w.spoken(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// refused demands a 4xx that is a problem, where the server of ours answered at
// all: what is no HTTP is refused by net/http, in plain text.
func (a *answer) refused(what string) {
	a.t.Helper()
	var p Problem
	ours := a.Header.Get("X-Request-Id") != ""
	if a.StatusCode < 400 || a.StatusCode > 499 || ours && (json.Unmarshal(a.body, &p) != nil || p.Status != a.StatusCode || p.Code == "") {
		a.t.Errorf("%q: %d %s", what, a.StatusCode, a.body)
	}
}

// A tenant has one name. An unreserved character in it may be escaped (see
// TestUnreservedCharactersMayBeEscaped); nothing else that looks alike, climbs or
// hides reaches a tenant at all.
func TestPathTricks(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	w.tenant("other")
	w.inert(func() {
		for _, name := range []string{
			"%2e%2e", "..", ".", "%2e", "acme%00", "%00", "acme%2f", "other%2f..%2facme", "acme%2F", "acme%5c", "acme;x=1", "acme%20", "%20acme",
			"ACME", "Acme", "%41cme", "acm\u0435", "\uff41cme", "%D0%B0cme", "acme%E2%80%8B", "acme%0d%0a", "acme%09", "acme%23", "acme%3f", "acme*", "acme,other",
			"%25%36%31cme", "a%CC%81cme", "%c0%ae%c0%ae", "%ff", "-acme", "acme.", "{tenant}", ":tenant", strings.Repeat("a", 64), strings.Repeat("a", 8000),
			strings.ToUpper(acme.ID.String()) + "0", "{" + acme.ID.String() + "}", "urn:uuid:" + acme.ID.String(), strings.ReplaceAll(acme.ID.String(), "-", ""),
		} {
			for _, target := range []struct{ method, path string }{
				{"GET", "/v1/tenants/" + name},
				{"DELETE", "/v1/tenants/" + name},
				{"GET", "/v1/tenants/" + name + "/keys"},
				{"POST", "/v1/tenants/" + name + "/keys/purge"},
				{"GET", "/t/" + name + "/.well-known/jwks.json"},
				{"GET", "/.well-known/oauth-authorization-server/t/" + name},
			} {
				w.spell(target.method, target.path).refused(target.method + " " + target.path)
			}
		}
		for _, path := range []string{
			"//v1/tenants/acme", "/v1//tenants/acme", "/v1/tenants//acme", "/./v1/tenants/acme", "/v1/./tenants/acme", "/v1/tenants/acme/", "/v1/tenants/acme//keys",
			"/v1/tenants/other/../acme", "/v1/tenants/other/%2e%2e/acme", "/t/acme/../other/.well-known/jwks.json", "/v1/%74enants/acme/..", "/v1/tenants/acme/keys/..",
			"/v1/tenants/acme/keys/%2e%2e", "/v1/tenants/acme/keys/.", "/docs/../v1/tenants", "/docs/..%2fopenapi.yaml", "/docs/%2e%2e%2fdocs.go", "/docs/swagger-ui/LICENSE",
			"/V1/tenants", "/v1/tenants%2facme", "/v1\\tenants\\acme", "/v1/tenants/acme/keys/a%2fb", "/v1/tenants/acme/keys/%00", "*", "/%", "/%zz", "/v1/tenants/%",
			"/v1/tenants/acme?%00=1", "/v1/tenants/acme?a=%zz", "/v1/tenants;/acme", "/" + strings.Repeat("a/", 4000),
		} {
			w.spell("GET", path).refused(path)
		}
	})
}

// Whoever escapes an unreserved character, anywhere in a path, asks for the same
// (RFC 9110 section 4.2.3), on both addresses; a character that is reserved, or
// one that is escaped twice, is another.
func TestUnreservedCharactersMayBeEscaped(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme-1")
	kid := w.keys("acme-1", KeyStateActive)[0].KID
	all := func(text string) (escaped string) {
		for i := range len(text) {
			escaped += fmt.Sprintf("%%%02x", text[i])
		}
		return escaped
	}
	for path, want := range map[string]string{
		"/v1/tenants/%61cme-1": acme.ID.String(), "/v1/tenants/acme%2D1": acme.ID.String(), "/v1/tenants/" + all("acme-1"): acme.ID.String(),
		"/v1/tenants/" + all(acme.ID.String()): acme.ID.String(), "/%761/%74enants/acme-1": acme.ID.String(),
		"/v1/tenants/acme-1/keys/" + all(kid): kid, "/v1/tenants/" + all("acme-1") + "/%6Beys/" + kid: kid,
		"/t/" + all("acme-1") + "/.well-known/jwks.json": kid, "/t/acme-1/%2Ewell%2dknown/jwks%2Ejson": kid,
		"/.well-known/oauth-authorization-server/%74/acme%2d1": "/t/acme-1",
	} {
		if a := w.spell("GET", path); a.StatusCode != 200 || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	if a := w.spell("DELETE", "/v1/tenants/acme-1/policies/%45S256"); a.StatusCode != 409 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	for path, want := range map[string]int{"/t/%61cme-1/.well-known/jwks.json": 200, "/%761/tenants/acme-1": 404, "/v1/tenants/%61cme-1": 404} {
		a := httptest.NewRecorder()
		if w.server.Public().ServeHTTP(a, httptest.NewRequest("GET", path, nil)); a.Code != want {
			t.Errorf("%s in public: %d", path, a.Code)
		}
	}
	for _, path := range []string{
		"/v1%2Ftenants/acme-1", "/v1/tenants/acme-1%2Fkeys", "/v1/tenants/%2561cme-1", "/v1/tenants/%25%36%31cme-1", "/v1/tenants/%2e%2e/tenants/acme-1",
		"/v1/%2e/tenants/acme-1", "/v1/tenants/other/%2e%2e/acme-1", "/t/acme-1/%2e%2e/acme-1/.well-known/jwks.json", "/docs/%2e%2e/openapi.yaml",
	} {
		w.spell("GET", path).refused(path)
	}
}

// Whatever stands in a header, it comes back in none, and breaks nothing.
func TestHeaderTricks(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	long := strings.Repeat("x", 5000)
	for _, value := range []string{"a\r\nX-Injected: 1", "a\rX-Injected: 1", "a\nX-Injected: 1", "a\x00b", "a\x7fb", "\u00e9\u20ac", "\xff\xfe", long, "%0d%0aX-Injected:1", "a, b", `"`, ";;;q=,", ""} {
		for _, name := range []string{"X-Request-Id", "Idempotency-Key", "Accept", "Accept-Encoding", "If-None-Match", "Last-Event-ID", "X-Forwarded-For", "Forwarded", "Prefer", "Content-Type", "User-Agent"} {
			for _, target := range [][2]string{
				{"GET", "/t/acme/.well-known/jwks.json"},
				{"GET", "/v1/tenants/acme/keys/none"},
				{"GET", "/v1/tenants/acme/events?last_event_id=none"},
				{"POST", "/v1/tenants/acme/keys/purge"},
				{"GET", "/docs/start.js"},
			} {
				a := w.spell(target[0], target[1], name+": "+value, "X-Request-Id: second")
				if a.StatusCode >= 500 || a.Header.Get("X-Injected") != "" || strings.Contains(a.Header.Get("X-Request-Id"), value) && value != "" {
					t.Errorf("%s: %.40q to %s: %d %v", name, value, target[1], a.StatusCode, a.Header)
				}
			}
		}
		w.spoken("GET /.well-known/jwks.json HTTP/1.1\r\nHost: " + strings.NewReplacer("\r", "", "\n", "").Replace(value) + "\r\nConnection: close\r\n\r\n")
	}
	for _, text := range []string{
		"GET /v1/tenants HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /v1/tenants HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
		"POST /v1/tenants HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
		"POST /v1/tenants HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", "GET /v1/tenants HTTP/1.1\r\nHost: x\r\nA" + "\x00: b\r\n\r\n",
	} {
		w.spoken(text).refused(text)
	}
}

// What looks like a slug or a domain and is none cannot be given to a tenant: not
// in another alphabet, not by what a letter folds to.
func TestLookAlikes(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	w.inert(func() {
		for _, name := range []string{
			"\u0430cme", "\uff41cme", "acm\u0435", "ac\u217fe", "a\u00adcme", "acme\u200b", "\u202eemca", "a\u0301cme", "\u00e1cme", "ACME", "Acme", "acme ", " acme", "acme\t",
			"acme\u0000", "acme.", "-acme", "acme-", "a_cme", "acme\u3002x", "\u212Aeys", "i\u0307d", "\u0130d", "stra\u00dfe", strings.Repeat("a", 64), "",
			"00000000-0000-7000-8000-000000000000",
		} {
			text, err := json.Marshal(name)
			if err != nil {
				t.Fatal(err)
			}
			p := w.do("POST", "/v1/tenants", w.root, `{"slug":`+string(text)+`}`).problem(ProblemCodeInvalidRequest)
			if len(p.Errors) == 0 || p.Errors[0].Field != "slug" {
				t.Errorf("%q: %+v", name, p)
			}
		}
		for _, domain := range []string{
			"\u0430cme.example", "\u212Aeys.example", "\u0130d.example", "id\u3002acme.example", "id\uff0eacme.example", "id.acme\u200b.example", "b\u00fccher.example",
			"*.acme.example", "id.acme.example.", "id.acme.example:443", "https://id.acme.example", "id..example", "id.acme.example/", "id_x.example", "1.2.3.4", "a.1", " id.example",
		} {
			text, err := json.Marshal(domain)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range []*answer{
				w.do("POST", "/v1/tenants", w.root, `{"slug":"new","custom_domain":`+string(text)+`}`),
				w.do("PATCH", "/v1/tenants/acme", w.root, `{"custom_domain":`+string(text)+`}`),
			} {
				if p := a.problem(ProblemCodeInvalidRequest); len(p.Errors) != 1 || p.Errors[0].Field != "custom_domain" {
					t.Errorf("%q: %+v", domain, p)
				}
			}
		}
	})
}
