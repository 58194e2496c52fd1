// Package cap verifies tokens with github.com/hashicorp/cap, the library of
// Vault, Boundary, Consul and Nomad.
//
// Internal to Keyward: no compatibility promise. It is an example to copy.
package cap

import (
	"context"

	"github.com/hashicorp/cap/jwt"
)

// Verifier has a cache of its own.
type Verifier struct {
	validator *jwt.Validator
	expected  jwt.Expected
}

// NewVerifier finds the JWKS by discovery.
func NewVerifier(ctx context.Context, issuer, audience string, algorithms ...jwt.Alg) (*Verifier, error) {
	keys, err := jwt.NewOIDCDiscoveryKeySet(ctx, issuer, "")
	if err != nil {
		return nil, err
	}
	validator, err := jwt.NewValidator(keys)
	return &Verifier{validator, jwt.Expected{Issuer: issuer, Audiences: []string{audience}, SigningAlgorithms: algorithms}}, err
}

// Verify returns the token's subject.
func (v *Verifier) Verify(ctx context.Context, token string) (subject string, err error) {
	claims, err := v.validator.Validate(ctx, token, v.expected)
	subject, _ = claims["sub"].(string)
	return subject, err
}
