package examples

import (
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkshttp"
)

// Chi is a service with chi: its middleware is that of net/http, so the guard's
// own serves.
func Chi(verifier *jwks.Verifier) http.Handler {
	guard := jwkshttp.New(verifier, jwkshttp.Config{Realm: "orders"})
	r := chi.NewRouter()
	r.Use(allowOrigin("https://app.example.com")) // before the guard; go-chi/cors does the same
	r.Get("/healthz", func(http.ResponseWriter, *http.Request) {})
	r.Group(func(r chi.Router) {
		r.Use(guard.Require())
		r.Get("/me", func(w http.ResponseWriter, r *http.Request) {
			token, _ := jwks.FromContext(r.Context())
			fmt.Fprint(w, token.Subject)
		})
		r.With(guard.Require("orders:write")).Post("/orders", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
		})
	})
	return r
}
