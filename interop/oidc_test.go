package interop

import (
	"context"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
)

// openOIDCDiscovery knows the issuer alone.
func openOIDCDiscovery(t *testing.T, tn *tenant, _ string) verify {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), tn.issuer)
	if err != nil {
		t.Fatalf("go-oidc: %v", err)
	}
	return oidcVerify(provider.Verifier(oidcConfig()))
}

// openOIDCKeySet knows the JWKS and the algorithm.
func openOIDCKeySet(t *testing.T, tn *tenant, alg string) verify {
	t.Helper()
	config := oidcConfig()
	config.SupportedSigningAlgs = []string{alg}
	return oidcVerify(oidc.NewVerifier(tn.issuer, oidc.NewRemoteKeySet(t.Context(), tn.jwks), config))
}

// oidcConfig accepts a token without exp: it is keys that are tried here.
func oidcConfig() *oidc.Config {
	return &oidc.Config{ClientID: audience, SkipExpiryCheck: true}
}

func oidcVerify(v *oidc.IDTokenVerifier) verify {
	return func(ctx context.Context, token string) error {
		_, err := v.Verify(ctx, token)
		return err
	}
}
