package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
)

func TestJWKSHeaders(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	a := w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200)
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "public, max-age=300, stale-while-revalidate=60, stale-if-error=86400",
		"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff", "Vary": "Accept", "Keyward-Stale": "", "Set-Cookie": "",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !regexp.MustCompile(`^"[^"]+"$`).MatchString(a.Header.Get("ETag")) || a.ContentLength != int64(len(a.body)) {
		t.Errorf("%v", a.Header)
	}
	if _, err := http.ParseTime(a.Header.Get("Last-Modified")); err != nil {
		t.Error(err)
	}
	var set struct{ Keys []map[string]string }
	a.ok(200, &set)
	if len(set.Keys) != 2 || set.Keys[0]["kid"] != w.keys("acme", KeyStateActive)[0].KID || set.Keys[0]["use"] != "sig" {
		t.Errorf("%+v", set)
	}
	head := w.do("HEAD", "/t/acme/.well-known/jwks.json", "", "").ok(200)
	if head.ContentLength != a.ContentLength || len(head.body) != 0 || head.Header.Get("ETag") != a.Header.Get("ETag") {
		t.Errorf("HEAD: %v", head.Header)
	}
	for _, ref := range []string{acme.ID.String(), strings.ToUpper(acme.ID.String())} {
		if b := w.do("GET", "/t/"+ref+"/.well-known/jwks.json", "", "").ok(200); string(b.body) != string(a.body) {
			t.Errorf("%s: %s", ref, b.body)
		}
	}
	for _, ref := range []string{"nobody", "ACME", "a..b", strings.Repeat("a", 64), "%2e%2e", "%00"} {
		w.do("GET", "/t/"+ref+"/.well-known/jwks.json", "", "").problem(ProblemCodeTenantNotFound)
	}
	w.do("POST", "/t/acme/.well-known/jwks.json", "", "").problem(ProblemCodeMethodNotAllowed)
	w.do("OPTIONS", "/t/acme/.well-known/jwks.json", "", "").ok(204)
}

func TestConditionalRequests(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	for _, path := range []string{"/t/acme/.well-known/jwks.json", "/.well-known/jwks.json", "/t/acme/.well-known/openid-configuration", "/openapi.yaml", "/docs", "/docs/start.js"} {
		etag := w.do("GET", path, "", "").ok(200).Header.Get("ETag")
		for _, method := range []string{"GET", "HEAD"} {
			for _, same := range [][]string{{etag}, {"W/" + etag}, {"*"}, {`"x", ` + etag}, {`"a,b" ,W/"c",` + etag}, {`"x"`, etag}} {
				var headers []string
				for _, line := range same {
					headers = append(headers, "If-None-Match", line)
				}
				a := w.do(method, path, "", "", headers...).ok(304)
				if a.Header.Get("ETag") != etag || a.Header.Get("Cache-Control") == "" || a.Header.Get("Access-Control-Allow-Origin") != "*" || len(a.body) != 0 {
					t.Errorf("%s %s %s: %v", method, path, same, a.Header)
				}
			}
			for _, other := range []string{`"x"`, strings.Trim(etag, `"`), `W/"x"`, "", `"`, `"a,` + etag[1:]} {
				w.do(method, path, "", "", "If-None-Match", other).ok(200)
			}
		}
	}
	path := "/t/acme/.well-known/jwks.json"
	etag := w.do("GET", path, "", "").ok(200).Header.Get("ETag")
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200)
	if a := w.do("GET", path, "", "", "If-None-Match", etag).ok(200); a.Header.Get("ETag") == etag {
		t.Error("a rotation was not seen at once")
	}
}

func TestJWKSContentType(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/html": false, "application/*": false,
		"application/jwk-set+json": true, "application/jwk-set+json, */*;q=0.1": true, "APPLICATION/JWK-SET+JSON": true,
		"application/jwk-set+json, application/json": false, "application/jwk-set+json;q=0.5, */*": false,
		"application/jwk-set+json;q=0": false, "application/jwk-set+json, application/json;q=0": true,
		"application/jwk-set+json, application/*;q=0.9": true, "application/jwk-set+json;q=x": true,
	} {
		var lines []string
		if accept != "" {
			lines = []string{accept}
		}
		if got := prefersJWKSet(lines); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","issuer":"https://id.acme.example/?","policies":[{"alg":"ES256"}]}`).problem(ProblemCodeInvalidRequest)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","issuer":"https://id.acme.example/a,b=c","policies":[{"alg":"ES256","default":true},{"alg":"Ed25519"}]}`).ok(201)
	for path, issuer := range map[string]string{
		"/t/acme/.well-known/openid-configuration":       "https://id.acme.example/a,b=c",
		"/.well-known/oauth-authorization-server/t/acme": "https://id.acme.example/a,b=c",
		"/.well-known/openid-configuration":              testPublicURL + "/t/platform",
		"/.well-known/oauth-authorization-server":        testPublicURL + "/t/platform",
	} {
		var d map[string]any
		a := w.do("GET", path, "", "").ok(200, &d)
		if d["issuer"] != issuer || !strings.HasPrefix(d["jwks_uri"].(string), testPublicURL+"/t/") || a.Header.Get("Cache-Control") == "" {
			t.Errorf("%s: %v", path, d)
		}
		for _, missing := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint"} {
			if d[missing] != nil {
				t.Errorf("%s does not exist", missing)
			}
		}
	}
	var d Discovery
	w.do("GET", "/t/acme/.well-known/openid-configuration", "", "").ok(200, &d)
	if !slices.Equal(d.IDTokenSigningAlgValuesSupported, []Alg{"ES256", "Ed25519"}) {
		t.Errorf("%+v", d)
	}
	w.do("GET", "/t/nobody/.well-known/openid-configuration", "", "").problem(ProblemCodeTenantNotFound)
	w.do("GET", "/.well-known/jwks.json", "", "").ok(200)
	w.do("HEAD", "/.well-known/jwks.json", "", "").ok(200)
}

// While PostgreSQL is away, verifiers are served what is known, and told so;
// signing stops. When it is back, so is everything.
func TestWithoutPostgreSQL(t *testing.T) {
	pg := dbtest.NewServer(t)
	w := newWorldOn(t, pg.DSN())
	w.tenant("acme")
	path := "/t/acme/.well-known/jwks.json"
	fresh := w.do("GET", path, "", "").ok(200)
	w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).ok(200)
	pg.Stop()
	w.clock.pass(keys.FreshFor + time.Second)
	a := w.do("GET", path, "", "").ok(200)
	if a.Header.Get("Keyward-Stale") == "" || !strings.HasPrefix(a.Header.Get("Warning"), "110 ") || string(a.body) != string(fresh.body) {
		t.Errorf("%v", a.Header)
	}
	w.do("GET", path, "", "", "If-None-Match", fresh.Header.Get("ETag")).ok(304)
	w.do("GET", "/t/acme/.well-known/openid-configuration", "", "").ok(200)
	w.do("GET", "/.well-known/jwks.json", "", "").problem(ProblemCodeUnavailable) // nobody asked before
	for _, try := range [][3]string{{"POST", "/tokens", `{"claims":{}}`}, {"GET", "/policies", ""}, {"POST", "/keys/rotate", "{}"}} {
		a := w.do(try[0], "/v1/tenants/acme"+try[1], w.root, try[2])
		if a.problem(ProblemCodeUnavailable); a.Header.Get("Retry-After") == "" {
			t.Errorf("%v", a.Header)
		}
	}
	pg.Start()
	for deadline := time.Now().Add(time.Minute); ; { // it is asked once a second whether it is back
		a := w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`)
		if a.StatusCode == 200 {
			break
		}
		if a.problem(ProblemCodeUnavailable); time.Now().After(deadline) {
			t.Fatal("signing does not begin again")
		}
	}
	if w.do("GET", path, "", "").ok(200).Header.Get("Keyward-Stale") != "" {
		t.Error("still stale")
	}
}

func TestServiceEndpoints(t *testing.T) {
	w := newWorld(t)
	w.do("GET", "/healthz", "", "").ok(200)
	w.do("GET", "/readyz", "", "").ok(200)
	w.do("GET", "/docs", "", "").ok(200)
	if spec := w.do("GET", "/openapi.yaml", "", "").ok(200); string(spec.body) != string(OpenAPI) {
		t.Error("the document is not served as it is")
	}
	w.do("GET", "/nothing", "", "").problem(ProblemCodeNotFound)
	w.do("GET", "/v1/nothing", "", "").problem(ProblemCodeNotFound)
	metrics := string(w.do("GET", "/metrics", "", "").ok(200).body)
	for _, want := range []string{
		`keyward_http_requests_total{operation="getDocs",status="200"} 1`, `keyward_http_requests_total{operation="none",status="404"} 2`,
		`keyward_http_request_duration_seconds_count{operation="healthz",status="200"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
}

func TestReadinessNamesTheParts(t *testing.T) {
	h, err := New(Config{Ready: func(context.Context) map[string]error {
		return map[string]error{"database": nil, "process": context.Canceled}
	}})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
	var out Readiness
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	if rec.Code != 503 || out.Status != ReadinessStatusUnavailable || !out.Checks["database"].Ok || out.Checks["process"].Ok {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestRequestIDs(t *testing.T) {
	w := newWorld(t)
	for given, kept := range map[string]bool{
		"abc-1._Z": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a b": false, "é": false, "a\tb": false,
	} {
		for _, path := range []string{"/.well-known/jwks.json", "/v1/tenants", "/nothing"} {
			got := w.do("GET", path, w.root, "", "X-Request-Id", given).Header["X-Request-Id"]
			if len(got) != 1 || (got[0] == given) != kept {
				t.Errorf("%s %q: %q", path, given, got)
			}
		}
	}
}

func TestPanicsAreLoggedAndNotTold(t *testing.T) {
	var log lockedBuffer
	h, err := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s := h.(*server)
	s.echo.GET("/boom", s.handle("boom", func(echo.Context) error { panic("hunter2") }))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/boom", nil))
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "hunter2") || !strings.Contains(rec.Body.String(), `"internal"`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if strings.Count(log.String(), "panic: hunter2") != 1 {
		t.Errorf("log: %s", log.String())
	}
}
