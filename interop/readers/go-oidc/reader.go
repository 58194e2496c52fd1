// Package gooidc verifies ID tokens with github.com/coreos/go-oidc.
//
// Internal to Keyward: no compatibility promise. It is an example to copy.
package gooidc

import (
	"context"

	"github.com/coreos/go-oidc/v3/oidc"
)

// NewVerifier finds the JWKS and the algorithms by discovery.
func NewVerifier(ctx context.Context, issuer, audience string) (*oidc.IDTokenVerifier, error) {
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, err
	}
	return provider.Verifier(&oidc.Config{ClientID: audience}), nil
}

// Verify returns the token's subject.
func Verify(ctx context.Context, verifier *oidc.IDTokenVerifier, token string) (subject string, err error) {
	verified, err := verifier.Verify(ctx, token)
	if err != nil {
		return "", err
	}
	return verified.Subject, nil
}
