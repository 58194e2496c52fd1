package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Every route answers on exactly the addresses it should: all of them on the
// admin's, the public ones alone on the public one.
func TestFaces(t *testing.T) {
	w := newWorld(t)
	public := httptest.NewServer(w.server.Public())
	t.Cleanup(public.Close)
	known := func(url, method, path string) bool {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url+strings.ReplaceAll(path, ":tenant", "platform"), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed
	}
	moved, stayed := 0, 0
	for _, r := range w.server.echo.Routes() {
		if strings.Contains(r.Path, "*") || strings.HasPrefix(r.Path, "/docs/") || r.Method == echoRouteNotFound {
			continue
		}
		if !known(w.url, r.Method, r.Path) {
			t.Errorf("%s %s does not answer on the admin address", r.Method, r.Path)
		}
		stays := strings.Contains(r.Path, "/.well-known/") || r.Path == "/healthz" || strings.HasPrefix(r.Path, "/readyz")
		if stays {
			stayed++
		} else {
			moved++
		}
		if known(public.URL, r.Method, r.Path) != stays {
			t.Errorf("%s %s on the public address", r.Method, r.Path)
		}
	}
	if moved < 30 || stayed < 10 {
		t.Errorf("%d moved, %d stayed", moved, stayed)
	}
	for _, path := range []string{"/metrics", "/openapi.yaml", "/docs", "/docs/start.js", "/console", "/v1/tenants/", "//v1/tenants", "/V1/tenants", "/t/../v1/tenants", "/t/%2e%2e/v1/tenants"} {
		if known(public.URL, "GET", path) {
			t.Errorf("%s on the public address", path)
		}
	}
}

const echoRouteNotFound = "echo_route_not_found"

func TestConsoleOrigins(t *testing.T) {
	h, err := New(Config{ConsoleOrigins: []string{"https://console.example"}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, origin string) http.Header {
		r := httptest.NewRequest(method, path, nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if method == "OPTIONS" && rec.Code != 204 {
			t.Errorf("%s: %d", path, rec.Code)
		}
		return rec.Header()
	}
	for _, method := range []string{"OPTIONS", "GET"} { // the GET is refused: a script may read why
		for origin, allowed := range map[string]string{
			"https://console.example": "https://console.example", "https://console.example.evil": "", "http://console.example": "", "null": "", "": "",
		} {
			got := ask(method, "/v1/tenants/acme/keys", origin)
			if got.Get("Access-Control-Allow-Origin") != allowed || got.Get("Vary") != "Origin" || got.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %q: %v", method, origin, got)
			}
			if method == "OPTIONS" && strings.Contains(got.Get("Access-Control-Allow-Headers"), "Idempotency-Key") != (allowed != "") {
				t.Errorf("%s: %v", origin, got)
			}
			if method == "GET" && strings.Contains(got.Get("Access-Control-Expose-Headers"), "Retry-After") != (allowed != "") {
				t.Errorf("%s: %v", origin, got)
			}
		}
	}
	if got := ask("OPTIONS", "/.well-known/jwks.json", "https://elsewhere.example").Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("public paths: %q", got)
	}
}
