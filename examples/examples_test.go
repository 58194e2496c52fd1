package examples

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// TestServices asks all of them the same.
func TestServices(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example")
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: issuer.URL, Keys: jwks.Config{HTTPClient: issuer.Client()},
		Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
	})
	if err != nil {
		t.Fatal(err)
	}
	ofNetHTTP := func(h http.Handler) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Result()
		}
	}
	app := Fiber(verifier)
	for name, ask := range map[string]func(*http.Request) *http.Response{
		"chi": ofNetHTTP(Chi(verifier)),
		"gin": ofNetHTTP(Gin(verifier)),
		"fiber": func(r *http.Request) *http.Response {
			response, err := app.Test(r, -1)
			if err != nil {
				t.Fatal(err)
			}
			return response
		},
	} {
		t.Run(name, func(t *testing.T) {
			service(t, issuer, ask)
			crossOrigin(t, ask)
		})
	}
}

func service(t *testing.T, issuer *jwkstest.Issuer, ask func(*http.Request) *http.Response) {
	token := func(scope string) string {
		return issuer.Token("1", jwkstest.Claims{"aud": "orders", "sub": "me", "scope": scope})
	}
	for _, test := range []struct {
		method, path, token string
		status              int
		challenge, body     string
	}{
		{"GET", "/healthz", "", 200, "", ""},
		{"GET", "/me", token(""), 200, "", "me"},
		{"GET", "/me", "", 401, `Bearer realm="orders"`, ""},
		{"GET", "/me", "x.y.z", 401, `Bearer realm="orders", error="invalid_token", error_description="the token is malformed"`, ""},
		{"POST", "/orders", token("orders:write"), 201, "", ""},
		{"POST", "/orders", token("orders:read"), 403, `Bearer realm="orders", error="insufficient_scope", error_description="the token does not allow this", scope="orders:write"`, ""},
	} {
		r := httptest.NewRequest(test.method, test.path, nil)
		if test.token != "" {
			r.Header.Set("Authorization", "Bearer "+test.token)
		}
		response := ask(r)
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != test.status || response.Header.Get("WWW-Authenticate") != test.challenge {
			t.Errorf("%s %s: %d, challenge %s, %v", test.method, test.path, response.StatusCode, response.Header.Get("WWW-Authenticate"), err)
		}
		if test.body != "" && string(body) != test.body {
			t.Errorf("%s %s: %q", test.method, test.path, body)
		}
		if test.status >= 400 && response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %v", test.method, test.path, response.Header)
		}
	}
}

// crossOrigin asks as browsers do for scripts: the preflight needs no token, and the script
// of the allowed origin alone may read a refusal.
func crossOrigin(t *testing.T, ask func(*http.Request) *http.Response) {
	for _, origin := range []string{"https://app.example.com", "https://elsewhere.example"} {
		allowed := map[bool]string{true: origin}[origin == "https://app.example.com"]
		preflight := httptest.NewRequest(http.MethodOptions, "/orders", nil)
		preflight.Header.Set("Access-Control-Request-Method", "POST")
		preflight.Header.Set("Access-Control-Request-Headers", "authorization")
		for _, r := range []*http.Request{preflight, httptest.NewRequest(http.MethodGet, "/me", nil)} {
			r.Header.Set("Origin", origin)
			response := ask(r)
			if got := response.Header.Get("Access-Control-Allow-Origin"); got != allowed {
				t.Errorf("%s for %s: %d allows %q", r.Method, origin, response.StatusCode, got)
			}
			if r == preflight && (response.StatusCode/100 != 2 || allowed != "" && !strings.Contains(strings.ToLower(response.Header.Get("Access-Control-Allow-Headers")), "authorization")) {
				t.Errorf("preflight for %s: %d %v", origin, response.StatusCode, response.Header)
			}
			if r != preflight && response.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s without a token: %d", r.Method, response.StatusCode)
			}
		}
	}
}
