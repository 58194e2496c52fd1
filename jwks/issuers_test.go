package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// platform has many issuers, told apart by their hosts.
type platform map[string]*jwkstest.Issuer

func newPlatform(n int) platform {
	p := platform{}
	for i := range n {
		host := fmt.Sprintf("t%d.example", i)
		p[host] = jwkstest.New("https://"+host, jose.EdDSA)
	}
	return p
}

func (p platform) of(n int) *jwkstest.Issuer { return p[fmt.Sprintf("t%d.example", n)] }

func (p platform) RoundTrip(r *http.Request) (*http.Response, error) {
	return p[r.URL.Host].Client().Transport.RoundTrip(r)
}

func manyVerifier(t *testing.T, p platform, config jwks.IssuersConfig) (*jwks.Verifier, *jwks.Issuers) {
	t.Helper()
	config.Keys.HTTPClient = &http.Client{Transport: p}
	issuers, err := jwks.NewIssuers(config)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{Issuers: issuers, Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.EdDSA}})
	if err != nil {
		t.Fatal(err)
	}
	return verifier, issuers
}

func TestManyIssuers(t *testing.T) {
	p := newPlatform(40)
	known := func(_ context.Context, issuer string) error {
		if strings.HasPrefix(issuer, "https://t1") { // t1, t10 to t19
			return nil
		}
		return errRefused
	}
	verifier, issuers := manyVerifier(t, p, jwks.IssuersConfig{Allow: []string{"https://t2.example"}, AllowFunc: known, Max: 5})
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			raw := p.of(n).Token("1", jwkstest.Claims{"aud": "orders"})
			want := error(jwks.ErrIssuer)
			if n == 1 || n == 2 || n >= 10 && n < 20 {
				want = nil
			}
			for range 3 {
				if _, err := verifier.Verify(t.Context(), raw); !errors.Is(err, want) {
					t.Errorf("issuer %d: %v", n, err)
				}
			}
		})
	}
	all.Wait()
	if n := issuers.Len(); n > 5 {
		t.Errorf("%d clients are kept", n)
	}
	requests(t, p.of(20), 0) // strangers are not even asked
}

// A tenant's key must not sign another's tokens (RFC 8725 section 3.8).
func TestKeysOfOneIssuerDoNotSignForAnother(t *testing.T) {
	p := newPlatform(2)
	verifier, _ := manyVerifier(t, p, jwks.IssuersConfig{Allow: []string{"https://t0.example", "https://t1.example"}})
	raw := p.of(0).Token("1", jwkstest.Claims{"aud": "orders", "iss": "https://t1.example"})
	if _, err := verifier.Verify(t.Context(), raw); !errors.Is(err, jwks.ErrSignature) {
		t.Error(err)
	}
}

func TestTheLeastRecentlyUsedIssuerMakesRoom(t *testing.T) {
	p := newPlatform(4)
	verifier, _ := manyVerifier(t, p, jwks.IssuersConfig{AllowFunc: func(context.Context, string) error { return nil }, Max: 2})
	for _, n := range []int{0, 1, 0, 2, 0, 3, 0} { // 1, then 2 make room
		if _, err := verifier.Verify(t.Context(), p.of(n).Token("1", jwkstest.Claims{"aud": "orders"})); err != nil {
			t.Fatal(n, err)
		}
	}
	requests(t, p.of(0), 1)
}

func TestIssuersOfStrangersAreErrorsOfTheirTokens(t *testing.T) {
	p := newPlatform(1)
	verifier, _ := manyVerifier(t, p, jwks.IssuersConfig{AllowFunc: func(context.Context, string) error { return nil }})
	for _, issuer := range []any{nil, "", "http://t0.example", "no URL", "file:///etc/passwd"} {
		if _, err := verifier.Verify(t.Context(), p.of(0).Token("1", jwkstest.Claims{"aud": "orders", "iss": issuer})); !errors.Is(err, jwks.ErrIssuer) {
			t.Errorf("%v: %v", issuer, err)
		}
	}
}

func TestVerifiersWithoutTheirChecksAreRefused(t *testing.T) {
	algs := []jose.SignatureAlgorithm{jose.ES256}
	client := holding(t)
	for name, config := range map[string]jwks.VerifierConfig{
		"no algorithm":        {Issuer: issuerURL, Audience: []string{"a"}},
		"symmetric algorithm": {Issuer: issuerURL, Audience: []string{"a"}, Algorithms: []jose.SignatureAlgorithm{jose.HS256}},
		"algorithm none":      {Issuer: issuerURL, Audience: []string{"a"}, Algorithms: []jose.SignatureAlgorithm{"none"}},
		"no audience":         {Issuer: issuerURL, Algorithms: algs},
		"empty audience":      {Issuer: issuerURL, Audience: []string{""}, Algorithms: algs},
		"no issuer":           {Audience: []string{"a"}, Algorithms: algs},
		"no issuer, a client": {Audience: []string{"a"}, Algorithms: algs, Client: client},
		"any issuer's keys":   {Audience: []string{"a"}, Algorithms: algs, AnyIssuer: true},
		"an http issuer":      {Issuer: "http://x", Audience: []string{"a"}, Algorithms: algs},
	} {
		if _, err := jwks.NewVerifier(config); !errors.Is(err, jwks.ErrArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := jwks.NewIssuers(jwks.IssuersConfig{}); !errors.Is(err, jwks.ErrArgument) {
		t.Error(err)
	}
}
