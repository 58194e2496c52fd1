// Package keyfunc verifies tokens with github.com/MicahParks/keyfunc and
// github.com/golang-jwt/jwt.
//
// Internal to Keyward: no compatibility promise. It is an example to copy.
package keyfunc

import (
	"context"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// Verifier has a cache of its own.
type Verifier struct {
	keys   keyfunc.Keyfunc
	parser *jwt.Parser
}

// NewVerifier fetches the JWKS, and again every hour until ctx ends.
func NewVerifier(ctx context.Context, jwks, issuer, audience string, algorithms ...string) (*Verifier, error) {
	keys, err := keyfunc.NewDefaultCtx(ctx, []string{jwks})
	if err != nil {
		return nil, err
	}
	return &Verifier{keys, jwt.NewParser(
		jwt.WithValidMethods(algorithms),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
	)}, nil
}

// Verify returns the token's subject.
func (v *Verifier) Verify(ctx context.Context, token string) (subject string, err error) {
	verified, err := v.parser.Parse(token, v.keys.KeyfuncCtx(ctx))
	if err != nil {
		return "", err
	}
	return verified.Claims.GetSubject()
}
