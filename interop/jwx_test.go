package interop

import (
	"context"
	"testing"

	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

func openJWX(t *testing.T, tn *tenant, _ string) verify {
	t.Helper()
	cache, err := jwk.NewCache(t.Context(), httprc.NewClient())
	if err != nil {
		t.Fatalf("jwx: %v", err)
	}
	if err := cache.Register(t.Context(), tn.jwks); err != nil {
		t.Fatalf("jwx: %v", err)
	}
	keys, err := cache.CachedSet(tn.jwks)
	if err != nil {
		t.Fatalf("jwx: %v", err)
	}
	return func(_ context.Context, token string) error {
		_, err := jwt.ParseString(token, jwt.WithKeySet(keys), jwt.WithIssuer(tn.issuer), jwt.WithAudience(audience))
		return err
	}
}
