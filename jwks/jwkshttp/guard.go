// Package jwkshttp is middleware that passes only requests with a valid bearer token
// to a handler of net/http, and so of all routers that take such middleware: chi,
// gorilla and others.
//
// Other requests are answered with the challenge of RFC 6750 section 3 and a body of
// RFC 9457: 401 without a valid token, 403 without enough scope, 429 and 503 if the
// issuer's keys cannot be fetched. A token whose key is unknown is 401, also when a
// rate limit forbids another look. Answers name the kind of fault and repeat nothing
// of the token.
//
// # Cross-origin requests
//
// A browser sends no Authorization with the OPTIONS request that precedes a
// cross-origin one (CORS preflight), and shows a script only answers that have
// Access-Control-Allow-Origin. So CORS middleware belongs before the guard, where it
// answers preflights and adds its fields to refusals too:
//
//	handler := cors(guard.Require("orders:read")(orders)) // not guard.Require(…)(cors(orders))
//
// Let it expose WWW-Authenticate and Retry-After if scripts are to read them, and
// allow the request field Authorization.
package jwkshttp

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/keyward/keyward/jwks"
)

// Config is how a [Guard] behaves; its zero value is fine.
type Config struct {
	// Realm of the challenge; "" is none.
	Realm string
	// Token finds the token in a request; nil is [Bearer]. "" is no token.
	Token func(*http.Request) (string, error)
	// Optional lets requests without a token through; those with a bad one are
	// refused all the same.
	Optional bool
	// OnRefusal sees each refusal before it is written, to count or log it.
	OnRefusal func(*http.Request, *Refusal)
	// Write writes a refusal; nil is [Refusal.ServeHTTP].
	Write func(http.ResponseWriter, *http.Request, *Refusal)
}

// A Guard is middleware that checks tokens. It is safe for concurrent use.
type Guard struct {
	verifier *jwks.Verifier
	config   Config
}

// New returns a guard that accepts the tokens that verifier accepts.
func New(verifier *jwks.Verifier, config Config) *Guard {
	if config.Token == nil {
		config.Token = Bearer
	}
	if config.OnRefusal == nil {
		config.OnRefusal = func(*http.Request, *Refusal) {}
	}
	if config.Write == nil {
		config.Write = func(w http.ResponseWriter, r *http.Request, refusal *Refusal) { refusal.ServeHTTP(w, r) }
	}
	return &Guard{verifier, config}
}

// Require returns middleware that requires a valid token with all of these scopes.
// The handler gets the token with [jwks.FromContext].
func (g *Guard) Require(scopes ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, refusal := g.Check(r, scopes...)
			if refusal != nil {
				g.Write(w, r, refusal)
				return
			}
			if token != nil {
				r = r.WithContext(jwks.NewContext(r.Context(), token))
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Check checks a request, for routers with another form of middleware. Both results
// are nil if there is no token and none is required.
func (g *Guard) Check(r *http.Request, scopes ...string) (*jwks.Token, *Refusal) {
	token, err := g.verify(r, scopes)
	if err == nil || errors.Is(err, ErrNoToken) && g.config.Optional {
		return token, nil
	}
	refusal := Refuse(err, g.config.Realm, scopes...)
	g.config.OnRefusal(r, refusal)
	return nil, refusal
}

// Write writes a refusal with the configured Write.
func (g *Guard) Write(w http.ResponseWriter, r *http.Request, refusal *Refusal) {
	g.config.Write(w, r, refusal)
}

func (g *Guard) verify(r *http.Request, scopes []string) (*jwks.Token, error) {
	raw, err := g.config.Token(r)
	if err != nil {
		return nil, err
	}
	if raw == "" {
		return nil, ErrNoToken
	}
	token, err := g.verifier.Verify(r.Context(), raw)
	if err == nil && !token.HasScopes(scopes...) {
		err = fmt.Errorf("%w: %q is wanted", jwks.ErrScope, scopes)
	}
	if err != nil {
		return nil, err
	}
	return token, nil
}
