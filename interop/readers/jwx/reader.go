// Package jwx verifies tokens with github.com/lestrrat-go/jwx.
//
// Internal to Keyward: no compatibility promise. It is an example to copy.
package jwx

import (
	"context"
	"errors"
	"time"

	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// Verifier has a cache of its own.
type Verifier struct {
	keys             jwk.Set
	issuer, audience string
}

// NewVerifier fetches the JWKS, and again when it is old, until ctx ends. Register
// tries again and again while it cannot read the set.
func NewVerifier(ctx context.Context, jwks, issuer, audience string) (*Verifier, error) {
	cache, err := jwk.NewCache(ctx, httprc.NewClient())
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := cache.Register(ready, jwks); err != nil {
		return nil, err
	}
	keys, err := cache.CachedSet(jwks)
	return &Verifier{keys, issuer, audience}, err
}

// Verify returns the token's subject. The algorithm is the one of the key.
func (v *Verifier) Verify(_ context.Context, token string) (subject string, err error) {
	verified, err := jwt.ParseString(token, jwt.WithKeySet(v.keys), jwt.WithIssuer(v.issuer), jwt.WithAudience(v.audience), jwt.WithRequiredClaim("exp"))
	if err != nil {
		return "", err
	}
	subject, found := verified.Subject()
	if !found {
		return "", errors.New("the token has no subject")
	}
	return subject, nil
}
