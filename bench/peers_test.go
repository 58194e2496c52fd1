package bench

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

const audience = "orders"

// check verifies one token; it has its keys by then.
type check func(ctx context.Context, raw string) error

// A peer is a way to verify tokens, with issuer, audience and times checked.
type peer struct {
	name string
	open func(tb testing.TB, issuer *jwkstest.Issuer, alg jose.SignatureAlgorithm) check
}

var peers = []peer{
	{"jwks", openJWKS},
	{"go-jose, key at hand", openJose},
	{"keyfunc + golang-jwt", openKeyfunc},
	{"go-oidc", openOIDC},
	{"jwx", openJWX},
}

// serve serves an issuer's keys over the loopback network.
func serve(tb testing.TB, algs ...jose.SignatureAlgorithm) *jwkstest.Issuer {
	issuer := jwkstest.New("", algs...)
	server := httptest.NewServer(http.Handler(issuer))
	tb.Cleanup(server.Close)
	issuer.URL = server.URL
	return issuer
}

func openJWKS(tb testing.TB, issuer *jwkstest.Issuer, alg jose.SignatureAlgorithm) check {
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer:     issuer.URL,
		Keys:       jwks.Config{AllowHTTP: true},
		Audience:   []string{audience},
		Algorithms: []jose.SignatureAlgorithm{alg},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return func(ctx context.Context, raw string) error {
		_, err := verifier.Verify(ctx, raw)
		return err
	}
}

// openJose is go-jose without a key set: what its parsing costs.
func openJose(tb testing.TB, issuer *jwkstest.Issuer, alg jose.SignatureAlgorithm) check {
	key := publicKey(tb, issuer, alg)
	return func(_ context.Context, raw string) error {
		token, err := josejwt.ParseSigned(raw, []jose.SignatureAlgorithm{alg})
		if err != nil {
			return err
		}
		var claims josejwt.Claims
		if err := token.Claims(key, &claims); err != nil {
			return err
		}
		return claims.Validate(josejwt.Expected{Issuer: issuer.URL, AnyAudience: josejwt.Audience{audience}})
	}
}

func openKeyfunc(tb testing.TB, issuer *jwkstest.Issuer, alg jose.SignatureAlgorithm) check {
	keys, err := keyfunc.NewDefaultCtx(tb.Context(), []string{issuer.JWKSURL()})
	if err != nil {
		tb.Fatal(err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{string(alg)}), jwt.WithIssuer(issuer.URL), jwt.WithAudience(audience), jwt.WithExpirationRequired())
	return func(ctx context.Context, raw string) error {
		_, err := parser.ParseWithClaims(raw, &jwt.RegisteredClaims{}, keys.KeyfuncCtx(ctx))
		return err
	}
}

func openOIDC(tb testing.TB, issuer *jwkstest.Issuer, alg jose.SignatureAlgorithm) check {
	keys := oidc.NewRemoteKeySet(tb.Context(), issuer.JWKSURL())
	verifier := oidc.NewVerifier(issuer.URL, keys, &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{string(alg)}})
	return func(ctx context.Context, raw string) error {
		_, err := verifier.Verify(ctx, raw)
		return err
	}
}

func openJWX(tb testing.TB, issuer *jwkstest.Issuer, _ jose.SignatureAlgorithm) check {
	cache, err := jwk.NewCache(tb.Context(), httprc.NewClient())
	if err != nil {
		tb.Fatal(err)
	}
	if err := cache.Register(tb.Context(), issuer.JWKSURL()); err != nil {
		tb.Fatal(err)
	}
	keys, err := cache.CachedSet(issuer.JWKSURL())
	if err != nil {
		tb.Fatal(err)
	}
	return func(_ context.Context, raw string) error {
		_, err := jwxjwt.ParseString(raw, jwxjwt.WithKeySet(keys), jwxjwt.WithIssuer(issuer.URL), jwxjwt.WithAudience(audience))
		return err
	}
}
