package interop

import (
	"context"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	gooidc "github.com/keyward/keyward/interop/readers/go-oidc"
)

// TestProviderMetadata: a client of OpenID Connect learns from a tenant's
// document, beside the keys, where the tenant's own provider is.
func TestProviderMetadata(t *testing.T) {
	tn := newTenant(t, object{"metadata": object{
		"authorization_endpoint": "https://login.acme.example/authorize?tenant=1",
		"token_endpoint":         "https://login.acme.example/token",
		"userinfo_endpoint":      "https://login.acme.example/me",
		"scopes_supported":       []string{"openid", "profile"},
	}})
	provider, err := oidc.NewProvider(t.Context(), tn.issuer)
	if err != nil {
		t.Fatalf("go-oidc: %v", err)
	}
	at := provider.Endpoint()
	if at.AuthURL != "https://login.acme.example/authorize?tenant=1" || at.TokenURL != "https://login.acme.example/token" || provider.UserInfoEndpoint() != "https://login.acme.example/me" {
		t.Errorf("go-oidc: %+v, %s", at, provider.UserInfoEndpoint())
	}
	var more struct {
		Scopes []string `json:"scopes_supported"`
	}
	if err := provider.Claims(&more); err != nil || len(more.Scopes) != 2 {
		t.Errorf("go-oidc: %+v, %v", more, err)
	}
	if _, err := gooidc.Verify(t.Context(), provider.Verifier(&oidc.Config{ClientID: audience}), tn.token(t, "ES256").Token); err != nil {
		t.Errorf("go-oidc: %v", err)
	}
	if answer[object](t, "PATCH", tn.path(""), object{"metadata": nil})["metadata"] != nil {
		t.Error("not cleared")
	}
	if provider, err = oidc.NewProvider(t.Context(), tn.issuer); err != nil {
		t.Fatalf("go-oidc, cleared: %v", err)
	}
	if at := provider.Endpoint(); at.AuthURL != "" || at.TokenURL != "" {
		t.Errorf("go-oidc, cleared: %+v", at)
	}
}

// openOIDCKeySet knows the JWKS and the algorithms, and discovers nothing.
func openOIDCKeySet(ctx context.Context, tn *tenant, algorithms []string) (verifySubject, error) {
	v := oidc.NewVerifier(tn.issuer, oidc.NewRemoteKeySet(ctx, tn.jwks), &oidc.Config{ClientID: audience, SupportedSigningAlgs: algorithms})
	return func(ctx context.Context, token string) (string, error) { return gooidc.Verify(ctx, v, token) }, nil
}
