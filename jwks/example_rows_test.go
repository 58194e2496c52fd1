package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// These examples, with those of example_test.go, show each row of the table in
// the README that compares this package with jwks-rsa.

// A key says its algorithm, or else its type does.
func ExampleKey_Algorithm() {
	named := jwkstest.New("https://keys.example.com", jose.PS384, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA).JWKS()
	unnamed := regexp.MustCompile(`"alg":"\w+",`).ReplaceAll(named, nil)
	with := must(jwks.New(jwks.Config{Local: jwks.Static(named)}))
	without := must(jwks.New(jwks.Config{Local: jwks.Static(unnamed)}))
	for _, key := range must(with.Keys(ctx)) {
		same := must(without.Key(ctx, key.ID()))
		fmt.Printf("%T %s %s\n", key.Public(), key.Algorithm(), same.Algorithm())
	}
	// Output:
	// *rsa.PublicKey PS384 RS256
	// *ecdsa.PublicKey ES256 ES256
	// *ecdsa.PublicKey ES384 ES384
	// *ecdsa.PublicKey ES512 ES512
	// ed25519.PublicKey EdDSA EdDSA
}

// Two thousand made-up kids within 15 seconds have the set fetched twice; the keys
// that there are go on working.
func ExampleConfig_unknownKids() {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	client := must(jwks.New(jwks.Config{
		URL:                  "https://keys.example.com/t/acme/jwks.json",
		HTTPClient:           local,
		UnknownKidsPerMinute: 2,
		Cooldown:             5 * time.Second,
		Now:                  func() time.Time { return now },
	}))
	must(client.Key(ctx, "1"))
	for range 4 {
		var err error
		for n := range 500 {
			_, err = client.Key(ctx, fmt.Sprint("made up ", n))
		}
		fmt.Println(client.Stats().UnknownKids, errors.Is(err, jwks.ErrSigningKeyNotFound), errors.Is(err, jwks.ErrRateLimited))
		now = now.Add(5 * time.Second)
	}
	fmt.Println(must(client.Key(ctx, "1")).ID())
	// Output:
	// 1 true false
	// 2 true false
	// 2 true true
	// 2 true true
	// 1
}

// Keys that cannot be used are left out, and told.
func ExampleConfig_skippedKeys() {
	set := `{"keys":[
		{"kid":"shared", "kty":"oct", "k":"c2VjcmV0"},
		{"kid":"sealing", "kty":"EC", "crv":"P-256", "use":"enc"},
		{"kid":"newer", "kty":"AKP", "alg":"SLH-DSA-SHA2-128s", "pub":""},
		{"kid":"good", "kty":"OKP", "crv":"Ed25519", "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	client := must(jwks.New(jwks.Config{
		Fetch:  func(context.Context, string) ([]byte, error) { return []byte(set), nil },
		URL:    "https://keys.example.com/jwks.json",
		OnSkip: func(kid string, reason error) { fmt.Printf("%s: %v\n", kid, reason) },
	}))
	fmt.Println(must(client.Key(ctx, "good")).Algorithm(), client.Stats().Skipped)
	// Output:
	// shared: it is a private or symmetric key, which has no place in a published set
	// sealing: it is not for signatures
	// newer: its type, curve or algorithm is unknown
	// EdDSA 3
}

// Issuer, audience and algorithms are checked always: a verifier that does not
// say what they are is refused itself.
func ExampleVerifierConfig() {
	config := jwks.VerifierConfig{
		Issuer:     "https://keys.example.com/t/acme",
		Audience:   []string{"orders"},
		Algorithms: []jose.SignatureAlgorithm{jose.ES256},
		Keys:       jwks.Config{HTTPClient: local},
	}
	verifier := must(jwks.NewVerifier(config))
	for _, raw := range []string{
		acme.Token("1", jwkstest.Claims{"aud": "orders", "iss": "https://evil.example"}),
		acme.Token("1", jwkstest.Claims{"aud": "invoices"}),
		acme.Token("2", jwkstest.Claims{"aud": "orders"}), // of RS256
	} {
		_, err := verifier.Verify(ctx, raw)
		fmt.Println(err)
	}
	for _, forget := range []func(*jwks.VerifierConfig){
		func(c *jwks.VerifierConfig) { c.Issuer = "" },
		func(c *jwks.VerifierConfig) { c.Audience = nil },
		func(c *jwks.VerifierConfig) { c.Algorithms = nil },
	} {
		lax := config
		forget(&lax)
		_, err := jwks.NewVerifier(lax)
		fmt.Println(errors.Is(err, jwks.ErrArgument), err)
	}
	// Output:
	// jwks: the token's issuer is not accepted: "https://evil.example"
	// jwks: the token is for another audience
	// jwks: the token's algorithm is not accepted: "RS256"
	// true jwks: wrong configuration: neither Issuer nor Issuers is given; AnyIssuer would do without
	// true jwks: wrong configuration: Audience is empty; AnyAudience would do without
	// true jwks: wrong configuration: Algorithms is empty
}

// Whatever is wrong with a set is an ErrJWKS.
func ExampleFetchError() {
	issuer := jwkstest.New("https://keys.example.com")
	for _, answer := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`) },
	} {
		issuer.Answer(answer)
		client := must(jwks.New(jwks.Config{URL: issuer.JWKSURL(), HTTPClient: issuer.Client()}))
		_, err := client.Key(ctx, "1")
		failed := new(jwks.FetchError)
		fmt.Println(errors.Is(err, jwks.ErrJWKS), errors.As(err, &failed), failed.Status, err)
	}
	// Output:
	// true true 502 jwks: fetch https://keys.example.com/jwks.json: the answer is 502 Bad Gateway
	// true true 0 jwks: fetch https://keys.example.com/jwks.json: it is not a JSON object with an array "keys"
	// true false 0 jwks: the JWKS endpoint did not contain any keys
	// true false 0 jwks: the JWKS endpoint did not contain any signing keys
}

// An issuer that is down for longer than its set's age.
func ExampleStale() {
	var passed atomic.Int64 // since noon; refreshes in the background ask too
	now := func() time.Time {
		return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(passed.Load()))
	}
	issuer := jwkstest.New("https://keys.example.com")
	client := must(jwks.New(jwks.Config{
		URL:          issuer.JWKSURL(),
		HTTPClient:   issuer.Client(),
		StaleIfError: time.Hour,
		OnStale: func(s jwks.Stale) {
			fmt.Println("old keys until", s.Until.Format(time.TimeOnly), errors.Is(s.Err, jwks.ErrJWKS))
		},
		Now: now,
	}))
	must(client.Key(ctx, "1")) // good for five minutes, as the issuer says
	issuer.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	for range 3 {
		passed.Add(int64(32 * time.Minute))
		_, err := client.Key(ctx, "1")
		fmt.Println(now().Format(time.TimeOnly), errors.Is(err, jwks.ErrJWKS))
	}
	// Output:
	// old keys until 13:05:00 true
	// 12:32:00 false
	// old keys until 13:05:00 true
	// 13:04:00 false
	// 13:36:00 true
}
