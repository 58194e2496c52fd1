package interop

import (
	"context"
	"testing"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

func openKeyfunc(t *testing.T, tn *tenant, alg string) verify {
	t.Helper()
	keys, err := keyfunc.NewDefaultCtx(t.Context(), []string{tn.jwks})
	if err != nil {
		t.Fatalf("keyfunc: %v", err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(tn.issuer), jwt.WithAudience(audience))
	return func(ctx context.Context, token string) error {
		_, err := parser.Parse(token, keys.KeyfuncCtx(ctx))
		return err
	}
}
