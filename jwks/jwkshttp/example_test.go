package jwkshttp_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

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
