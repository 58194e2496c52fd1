// Package jwkshttp lets only requests with a good bearer token through to a
// handler of net/http, and so of all routers that take its middleware: chi,
// gorilla and others.
//
// What is refused gets the challenge of RFC 6750 section 3 and a body of RFC
// 9457: 401 without a good token, 403 without enough scope, 429 and 503 if the
// issuer's keys cannot be had. Answers say what kind of fault it was and repeat
// nothing of the token.
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

// A Guard stands before handlers. It is safe for concurrent use.
type Guard struct {
	verifier *jwks.Verifier
	config   Config
}

// New makes a guard that asks verifier.
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

// Require is middleware that wants a good token with all of these scopes. The
// handler finds the token with [jwks.FromContext].
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

// Check judges a request, for routers whose middleware is of another form. Both
// results are nil if there is no token and that is fine.
func (g *Guard) Check(r *http.Request, scopes ...string) (*jwks.Token, *Refusal) {
	token, err := g.verify(r, scopes)
	if err == nil || errors.Is(err, ErrNoToken) && g.config.Optional {
		return token, nil
	}
	refusal := Refuse(err, g.config.Realm, scopes...)
	g.config.OnRefusal(r, refusal)
	return nil, refusal
}

// Write writes a refusal as the configuration says.
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
