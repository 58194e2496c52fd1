// Package jwtmiddleware verifies tokens with github.com/auth0/go-jwt-middleware.
//
// Internal to Keyward: no compatibility promise. It is an example to copy.
package jwtmiddleware

import (
	"context"
	"net/url"
	"time"

	"github.com/auth0/go-jwt-middleware/v2/jwks"
	"github.com/auth0/go-jwt-middleware/v2/validator"
)

// NewVerifier finds the JWKS by discovery at the first token.
func NewVerifier(issuer, audience string, algorithm validator.SignatureAlgorithm) (*validator.Validator, error) {
	at, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	return validator.New(jwks.NewCachingProvider(at, 5*time.Minute).KeyFunc, algorithm, issuer, []string{audience})
}

// Verify returns the token's subject.
func Verify(ctx context.Context, v *validator.Validator, token string) (subject string, err error) {
	claims, err := v.ValidateToken(ctx, token)
	if err != nil {
		return "", err
	}
	return claims.(*validator.ValidatedClaims).RegisteredClaims.Subject, nil
}
