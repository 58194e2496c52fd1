package echojwks_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/echojwks"
	"github.com/keyward/keyward/jwks/jwkshttp"
	"github.com/keyward/keyward/jwks/jwkstest"
)

func TestMiddleware(t *testing.T) {
	issuer := jwkstest.New("https://issuer.example")
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: issuer.URL, Keys: jwks.Config{HTTPClient: issuer.Client()},
		Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.Use(echo.WrapMiddleware(allowOrigin)) // before the guard
	guard := jwkshttp.New(verifier, jwkshttp.Config{})
	e.GET("/orders", func(c echo.Context) error {
		token, ok := echojwks.Token(c)
		same, _ := jwks.FromContext(c.Request().Context())
		if !ok || token != same {
			t.Error("the handler does not find the token")
		}
		return c.String(http.StatusOK, token.Subject)
	}, echojwks.Require(guard, "orders:read"))

	for name, test := range map[string]struct {
		claims jwkstest.Claims
		status int
	}{
		"good":     {jwkstest.Claims{"scope": "orders:read", "sub": "me"}, http.StatusOK},
		"no scope": {jwkstest.Claims{}, http.StatusForbidden},
		"expired":  {jwkstest.Claims{"exp": 1}, http.StatusUnauthorized},
		"none":     {nil, http.StatusUnauthorized},
	} {
		r := httptest.NewRequest(http.MethodGet, "/orders", nil)
		if test.claims != nil {
			test.claims["aud"] = "orders"
			r.Header.Set("Authorization", "Bearer "+issuer.Token("1", test.claims))
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code != test.status || (w.Code != http.StatusOK) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}

	// A preflight needs no token, and scripts can read refusals.
	for method, status := range map[string]int{http.MethodOptions: http.StatusNoContent, http.MethodGet: http.StatusUnauthorized} {
		r := httptest.NewRequest(method, "/orders", nil)
		r.Header.Set("Origin", "https://app.example.com")
		r.Header.Set("Access-Control-Request-Method", http.MethodGet)
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code != status || w.Header().Get("Access-Control-Allow-Origin") != "https://app.example.com" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
	}
}

// allowOrigin is what middleware.CORS of Echo does, without its dependencies.
func allowOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://app.example.com")
		if r.Method == http.MethodOptions {
			w.Header().Set("Access-Control-Allow-Headers", "Authorization")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
