package jwkshttp_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkshttp"
	"github.com/keyward/keyward/jwks/jwkstest"
)

func Example() {
	issuer := jwkstest.New("https://keys.example.com/t/acme") // services have a real one
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer:     issuer.URL,
		Audience:   []string{"orders"},
		Algorithms: []jose.SignatureAlgorithm{jose.ES256},
		Keys:       jwks.Config{HTTPClient: issuer.Client()},
	})
	if err != nil {
		log.Fatal(err)
	}
	guard := jwkshttp.New(verifier, jwkshttp.Config{
		Realm:     "orders",
		OnRefusal: func(r *http.Request, refusal *jwkshttp.Refusal) { fmt.Println("refused:", refusal.Code) },
	})
	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Require("orders:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := jwks.FromContext(r.Context())
		fmt.Fprintln(w, "orders of", token.Subject)
	})))

	for _, scope := range []string{"orders:read", "none"} {
		r := httptest.NewRequest(http.MethodGet, "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+issuer.Token("1", jwkstest.Claims{"aud": "orders", "sub": "alice", "scope": scope}))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 orders of alice
	// refused: insufficient_scope
	// 403 {"type":"urn:keyward:problem:insufficient_scope","title":"Forbidden","status":403,"detail":"the token does not allow this","code":"insufficient_scope"}
}

// Tokens in other places than the field Authorization.
func ExampleFirst() {
	find := jwkshttp.First(jwkshttp.Bearer, jwkshttp.Header("X-Token"), jwkshttp.Cookie("session"), inQuery)
	for _, put := range []func(*http.Request){
		func(r *http.Request) { r.Header.Set("Authorization", "Bearer a") },
		func(r *http.Request) { r.Header.Set("X-Token", "b") },
		func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "session", Value: "c"}) },
		func(r *http.Request) { r.URL.RawQuery = "access_token=d" },
		func(*http.Request) {},
	} {
		r := httptest.NewRequest(http.MethodGet, "/orders", nil)
		put(r)
		token, err := find(r) // a guard does, with Config{Token: find}
		fmt.Printf("%q %v\n", token, err)
	}
	// Output:
	// "a" <nil>
	// "b" <nil>
	// "c" <nil>
	// "d" <nil>
	// "" <nil>
}

// inQuery is a way of one's own, for an old program.
func inQuery(r *http.Request) (string, error) { return r.URL.Query().Get("access_token"), nil }

// What errors become in HTTP. Frameworks without net/http's middleware call this.
func ExampleRefuse() {
	for _, err := range []error{
		&jwks.RateLimitError{RetryAfter: 6 * time.Second},
		jwks.ErrSigningKeyNotFound,
		jwks.ErrExpired,
		&jwks.FetchError{URL: "https://keys.example.com/jwks.json", Err: context.DeadlineExceeded},
	} {
		refusal := jwkshttp.Refuse(err, "orders")
		fmt.Printf("%d %s %q\n", refusal.Status, refusal.Code, refusal.RetryAfter)
	}
	// Output:
	// 429 rate_limited "6"
	// 401 key_not_found ""
	// 401 token_expired ""
	// 503 keys_unavailable ""
}

// CORS middleware belongs before the guard: it answers the preflight, which has no
// token, and lets scripts read refusals.
func ExampleGuard_Require_cors() {
	issuer := jwkstest.New("https://keys.example.com/t/acme")
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer:     issuer.URL,
		Audience:   []string{"orders"},
		Algorithms: []jose.SignatureAlgorithm{jose.ES256},
		Keys:       jwks.Config{HTTPClient: issuer.Client()},
	})
	if err != nil {
		log.Fatal(err)
	}
	guard := jwkshttp.New(verifier, jwkshttp.Config{})
	orders := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "orders") })
	handler := cors(guard.Require()(orders))

	for _, method := range []string{http.MethodOptions, http.MethodGet} {
		r := httptest.NewRequest(method, "/orders", nil)
		r.Header.Set("Origin", "https://app.example.com")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(method, w.Code, w.Header().Get("Access-Control-Allow-Origin"))
	}
	// Output:
	// OPTIONS 204 https://app.example.com
	// GET 401 https://app.example.com
}

// cors allows one origin; use the middleware of your router.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://app.example.com")
		w.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
		w.Header().Add("Vary", "Origin")
		if r.Method == http.MethodOptions {
			w.Header().Set("Access-Control-Allow-Headers", "Authorization")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
