package jwks_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// The behaviours that go-oidc's tests of its key set want, of a client as its
// KeySet. Where this package decides otherwise, the comment says so.
func TestBehavioursOfGoOIDC(t *testing.T) {
	payload := []byte("a secret") // a JWS, not a token
	verifies := func(t *testing.T, client *jwks.Client, raw string, want error) {
		t.Helper()
		got, err := client.VerifySignature(t.Context(), raw)
		if !errors.Is(err, want) || err == nil && string(got) != string(payload) {
			t.Errorf("%q, %v, want %v", got, err, want)
		}
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		t.Run("one key without a kid, "+string(alg), func(t *testing.T) {
			good, bad := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
			good.Revoke("1")
			good.Add("", alg)
			bad.Add("", alg)
			client := newClient(t, good, jwks.Config{})
			for range 2 { // fetched, then from the cache
				verifies(t, client, good.Sign("", map[string]any{"kid": nil}, payload), nil)
			}
			verifies(t, client, bad.Sign("", map[string]any{"kid": nil}, payload), jwks.ErrSignature)
		})
	}
	t.Run("several keys", func(t *testing.T) {
		issuer, bad := jwkstest.New(issuerURL, jose.RS256, jose.RS256), jwkstest.New(issuerURL)
		bad.Add("3", jose.ES256)
		client := newClient(t, issuer, jwks.Config{})
		verifies(t, client, issuer.Sign("2", nil, payload), nil)
		verifies(t, client, bad.Sign("3", nil, payload), jwks.ErrSigningKeyNotFound)
		// go-oidc tries all keys for a token without a kid; here it must have one.
		verifies(t, client, issuer.Sign("2", map[string]any{"kid": nil}, payload), jwks.ErrSigningKeyNotFound)
	})
	t.Run("the right key by the wrong kid", func(t *testing.T) {
		issuer := jwkstest.New(issuerURL, jose.ES256, jose.ES256)
		client := newClient(t, issuer, jwks.Config{})
		verifies(t, client, issuer.Sign("1", map[string]any{"kid": "3"}, payload), jwks.ErrSigningKeyNotFound)
		verifies(t, client, issuer.Sign("1", map[string]any{"kid": "2"}, payload), jwks.ErrSignature)
	})
	t.Run("a context that is over", func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		issuer.Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		client := newClient(t, issuer, jwks.Config{})
		if _, err := client.VerifySignature(ctx, issuer.Sign("1", nil, payload)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("rotation, then the server dies", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer, next := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
			next.Add("2", jose.ES256)
			client := newClient(t, issuer, jwks.Config{})
			verifies(t, client, issuer.Sign("1", nil, payload), nil)
			verifies(t, client, next.Sign("2", nil, payload), jwks.ErrSigningKeyNotFound)
			issuer.Add("2", jose.ES256)
			time.Sleep(6 * time.Second) // go-oidc has no cool-down
			verifies(t, client, issuer.Sign("1", nil, payload), nil)
			verifies(t, client, issuer.Sign("2", nil, payload), nil)
			issuer.Answer(down)
			verifies(t, client, issuer.Sign("1", nil, payload), nil)
			verifies(t, client, issuer.Sign("2", nil, payload), nil)
		})
	})
}

// The behaviours that jwks-rsa's tests want; the table in README.md has the rest.
func TestBehavioursOfJWKSRSA(t *testing.T) {
	r, e := rsaJWK(t, 2048), ecJWK(t)
	t.Run("an error of the server", func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "Unknown Server Error", http.StatusInternalServerError)
		})
		_, err := newClient(t, issuer, jwks.Config{}).Keys(t.Context())
		if failed := (*jwks.FetchError)(nil); !errors.As(err, &failed) || failed.Status != http.StatusInternalServerError {
			t.Error(err)
		}
	})
	t.Run("keys with and without certificates, use, alg and nbf", func(t *testing.T) {
		client := holding(t,
			r.with(members{"kid": "a", "alg": "RS256", "use": "sig", "x5c": x5c(t), "x5t": "a"}), r.with(members{"kid": "b", "use": "sig", "nbf": 123, "x5c": []string{}}),
			e.with(members{"kid": "c"}), e.with(members{"kid": "d", "use": "enc"}), members{"kid": "e", "kty": "oct", "k": "AAAA"}.with(nil),
		)
		keys, err := client.Keys(t.Context())
		if err != nil || len(keys) != 3 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for i, kid := range []string{"a", "b", "c"} {
			if keys[i].ID() != kid || keys[i].PEM() == "" {
				t.Errorf("key %d is %q", i, keys[i].ID())
			}
		}
		wants(t, client, "d", jwks.ErrSigningKeyNotFound)
	})
	t.Run("a certificate alone is no key", func(t *testing.T) { // jwks-rsa takes the key of one
		client := holding(t, members{"kid": "a", "kty": "RSA", "use": "sig", "alg": "RS256", "x5c": x5c(t)}.with(nil))
		wants(t, client, "a", jwks.ErrNoSigningKeys)
	})
	t.Run("no kid", func(t *testing.T) {
		one := holding(t, r.with(members{"kid": "a"}))
		if key, err := one.Key(t.Context(), ""); err != nil || key.ID() != "a" {
			t.Error(err)
		}
		wants(t, holding(t, r.with(members{"kid": "a"}), e.with(members{"kid": "b"})), "", jwks.ErrSigningKeyNotFound)
		none, err := jwks.New(jwks.Config{Local: jwks.Static([]byte(`{"keys":[]}`))})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, none, "", jwks.ErrNoKeys)
	})
	t.Run("the cache lives as long as it should", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer := jwkstest.New(issuerURL)
			issuer.CacheControl("")
			client := newClient(t, issuer, jwks.Config{MaxAge: 100 * time.Millisecond})
			wants(t, client, "1", nil)
			issuer.Answer(down)
			wants(t, client, "1", nil)
			time.Sleep(101 * time.Millisecond)
			wants(t, client, "1", jwks.ErrJWKS)
		})
	})
	t.Run("tokens of express, koa and hapi", func(t *testing.T) {
		issuer, other := jwkstest.New(issuerURL, jose.RS256), jwkstest.New(issuerURL, jose.RS256)
		verifier := newVerifier(t, issuer, jwks.VerifierConfig{Algorithms: []jose.SignatureAlgorithm{jose.RS256}})
		claims := jwkstest.Claims{"aud": "orders", "sub": "john"}
		for name, test := range map[string]struct {
			raw  string
			want error
		}{
			"good":             {issuer.Token("1", claims), nil},
			"key mismatch":     {other.Token("1", claims), jwks.ErrSignature},
			"symmetric":        {issuer.Sign("1", map[string]any{"alg": "HS256"}, []byte(`{"iss":"`+issuerURL+`","aud":"orders"}`)), jwks.ErrAlgorithm},
			"no header":        {"abc", jwks.ErrMalformed},
			"empty":            {"", jwks.ErrMalformed},
			"another audience": {issuer.Token("1", jwkstest.Claims{"aud": "x"}), jwks.ErrAudience},
		} {
			if _, err := verifier.Verify(t.Context(), test.raw); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
		}
	})
}
