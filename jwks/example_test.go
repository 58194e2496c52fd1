package jwks_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// The examples talk to this issuer, without a network; services leave HTTPClient
// out, or set what their network needs.
var (
	acme  = jwkstest.New("https://keys.example.com/t/acme", jose.ES256, jose.RS256)
	local = acme.Client()
	ctx   = context.Background()
)

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// All that a service needs to verify tokens of an issuer.
func Example() {
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Issuer:     "https://keys.example.com/t/acme",
		Audience:   []string{"orders"},
		Algorithms: []jose.SignatureAlgorithm{jose.ES256},
		Keys:       jwks.Config{HTTPClient: local}, // for this example only
	})
	if err != nil {
		log.Fatal(err)
	}
	raw := acme.Token("1", jwkstest.Claims{"aud": "orders", "sub": "alice"})
	token, err := verifier.Verify(ctx, raw)
	fmt.Println(token.Subject, err)
	// Output: alice <nil>
}

// A client alone: keys by kid.
func ExampleClient_Key() {
	client := must(jwks.New(jwks.Config{URL: "https://keys.example.com/t/acme/jwks.json", HTTPClient: local}))
	key, err := client.Key(ctx, "2")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s %T\n", key.ID(), key.Algorithm(), key.Public())
	_, err = client.Key(ctx, "") // without a kid only if there is one key
	fmt.Println(err)
	// Output:
	// 2 RS256 *rsa.PublicKey
	// jwks: unable to find a signing key: no kid given, and the JWKS endpoint returned more than 1 key
}

func ExampleClient_Keys() {
	client := must(jwks.New(jwks.Config{Issuer: "https://keys.example.com/t/acme", HTTPClient: local}))
	for _, key := range must(client.Keys(ctx)) {
		fmt.Println(key.ID(), key.Algorithm())
	}
	// Output:
	// 1 ES256
	// 2 RS256
}

func ExampleClient_Raw() {
	client := must(jwks.New(jwks.Config{Issuer: "https://keys.example.com/t/acme", HTTPClient: local}))
	fmt.Printf("%.9s\n", must(client.Raw(ctx)))
	// Output: {"keys":[
}

func ExampleKey_PEM() {
	client := must(jwks.New(jwks.Config{Issuer: "https://keys.example.com/t/acme", HTTPClient: local}))
	first, _, _ := strings.Cut(must(client.Key(ctx, "1")).PEM(), "\n")
	fmt.Println(first)
	// Output: -----BEGIN PUBLIC KEY-----
}

// Caching as in jwks-rsa, which are the defaults, with keys that stay usable for
// an hour when the issuer cannot be reached.
func ExampleConfig_cache() {
	client := must(jwks.New(jwks.Config{
		URL:          "https://keys.example.com/t/acme/jwks.json",
		HTTPClient:   local,
		NoCache:      false,
		MaxEntries:   5,
		MaxAge:       10 * time.Minute,
		StaleIfError: time.Hour,
		OnStale:      func(s jwks.Stale) { log.Println("using old keys until", s.Until, "as", s.Err) },
	}))
	for range 1000 {
		must(client.Key(ctx, "1"))
	}
	fmt.Println(client.Stats().Fetches)
	// Output: 1
}

func ExampleConfig_rateLimit() {
	client := must(jwks.New(jwks.Config{
		URL:               "https://keys.example.com/t/acme/jwks.json",
		HTTPClient:        local,
		NoCache:           true,
		RateLimit:         true,
		RequestsPerMinute: 2,
	}))
	for range 3 {
		_, err := client.Key(ctx, "1")
		fmt.Printf("%v %q\n", errors.Is(err, jwks.ErrRateLimited), jwks.RetryAfter(err))
	}
	// Output:
	// false ""
	// false ""
	// true "30"
}

// Requests as the network needs them: certificates, a proxy, fields.
func ExampleConfig_requests() {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyFromEnvironment
	transport.TLSClientConfig = &tls.Config{
		MinVersion: tls.VersionTLS12,
		// RootCAs and, for mTLS, Certificates
	}
	_, err := jwks.New(jwks.Config{
		URL:        "https://keys.example.com/t/acme/jwks.json",
		HTTPClient: &http.Client{Transport: transport},
		Header:     http.Header{"User-Agent": {"orders/1.0"}},
		Timeout:    5 * time.Second,
	})
	fmt.Println(err)
	// Output: <nil>
}

// Keys from a file, the environment or anywhere are tried first; if there are
// none, the issuer is asked.
func ExampleConfig_local() {
	sources := []func(context.Context) ([]byte, error){
		jwks.File("/etc/app/jwks.json"),
		jwks.Env("JWKS_KEYS"),
		func(context.Context) ([]byte, error) { return nil, nil }, // such as Redis
		jwks.Static([]byte(`{"keys":[]}`)),
	}
	for _, source := range sources {
		client := must(jwks.New(jwks.Config{Local: source, URL: "https://keys.example.com/t/acme/jwks.json", HTTPClient: local}))
		fmt.Println(must(client.Key(ctx, "1")).ID())
	}
	// Output:
	// 1
	// 1
	// 1
	// 1
}

// A fetch of one's own, here with three tries.
func ExampleFetch() {
	tries := 0
	get := func(context.Context, string) ([]byte, error) {
		if tries++; tries < 3 {
			return nil, errors.New("not now")
		}
		return acme.JWKS(), nil
	}
	fetch := func(ctx context.Context, url string) (set []byte, err error) {
		for range 3 {
			if set, err = get(ctx, url); err == nil {
				break
			}
		}
		return set, err
	}
	client := must(jwks.New(jwks.Config{URL: "https://keys.example.com/t/acme/jwks.json", Fetch: fetch}))
	fmt.Println(must(client.Key(ctx, "1")).ID(), tries)
	// Output: 1 3
}

// The key function of another JWT library is one line.
func ExampleClient_PublicKeyFor() {
	client := must(jwks.New(jwks.Config{Issuer: "https://keys.example.com/t/acme", HTTPClient: local}))
	header := map[string]any{"alg": "ES256", "kid": "1"} // of github.com/golang-jwt/jwt: t.Header
	key, err := client.PublicKeyFor(ctx, header)
	fmt.Printf("%T %v\n", key, err)
	// Output: *ecdsa.PublicKey <nil>
}

// Claims as a type of one's own.
func ExampleVerifyAs() {
	type access struct {
		Email       string   `json:"email"`
		Permissions []string `json:"permissions"`
		Roles       []string `json:"https://acme.example/roles"`
	}
	verifier := must(jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: acme.URL, Keys: jwks.Config{HTTPClient: local},
		Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.ES256, jose.RS256},
		Required: []string{"sub"}, Scopes: []string{"admin"}, Skew: 30 * time.Second, MaxTokenAge: time.Hour,
		Validate: func(_ context.Context, t *jwks.Token) error {
			if t.Subject == "mallory" {
				return errors.New("blocked")
			}
			return nil
		},
	}))
	raw := acme.Token("2", jwkstest.Claims{
		"aud": "orders", "sub": "alice", "scope": "admin", "email": "alice@acme.example",
		"permissions": []string{"read:orders"}, "https://acme.example/roles": []string{"buyer"},
	})
	claims, token, err := jwks.VerifyAs[access](ctx, verifier, raw)
	fmt.Println(claims, token.Scopes(), token.KeyID, token.Algorithm, err)
	// Output: {alice@acme.example [read:orders] [buyer]} [admin] 2 RS256 <nil>
}

// Every error has a class.
func ExampleVerifier_errors() {
	verifier := must(jwks.NewVerifier(jwks.VerifierConfig{
		Issuer: acme.URL, Keys: jwks.Config{HTTPClient: local},
		Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
	}))
	_, err := verifier.Verify(ctx, acme.Token("1", jwkstest.Claims{"aud": "orders", "exp": 1}))
	switch {
	case errors.Is(err, jwks.ErrToken): // 401, or 403 for ErrScope
		fmt.Println(err, errors.Is(err, jwks.ErrExpired))
	case errors.Is(err, jwks.ErrSigningKeyNotFound): // 401
	case errors.Is(err, jwks.ErrRateLimited): // 429
	case errors.Is(err, jwks.ErrJWKS): // 503
	}
	_, err = jwks.New(jwks.Config{URL: "http://keys.example.com/"})
	fmt.Println(err, errors.Is(err, jwks.ErrArgument))
	// Output:
	// jwks: the token has expired true
	// jwks: wrong configuration: URL: only https is allowed true
}

func ExampleConfig_logger() {
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: plain}))
	client := must(jwks.New(jwks.Config{URL: "https://keys.example.com/t/acme/jwks.json", HTTPClient: local, Logger: logger}))
	must(client.Key(ctx, "1"))
	// Output:
	// level=DEBUG msg="Configured caching of signing keys" max=5 age=10m0s
	// level=DEBUG msg="Fetching keys from" url=https://keys.example.com/t/acme/jwks.json
	// level=DEBUG msg=Keys keys=2 signing_keys=2
}

// Tokens of many issuers, such as the tenants of a platform.
func ExampleIssuers() {
	issuers := must(jwks.NewIssuers(jwks.IssuersConfig{
		Allow: []string{"https://accounts.example.com"},
		AllowFunc: func(_ context.Context, issuer string) error {
			if !strings.HasPrefix(issuer, "https://keys.example.com/t/") {
				return errors.New("no tenant of ours")
			}
			return nil
		},
		Keys: jwks.Config{HTTPClient: local},
	}))
	verifier := must(jwks.NewVerifier(jwks.VerifierConfig{
		Issuers: issuers, Audience: []string{"orders"}, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
	}))
	token := must(verifier.Verify(ctx, acme.Token("1", jwkstest.Claims{"aud": "orders"})))
	fmt.Println(token.Issuer)
	_, err := verifier.Verify(ctx, acme.Token("1", jwkstest.Claims{"aud": "orders", "iss": "https://evil.example"}))
	fmt.Println(errors.Is(err, jwks.ErrIssuer))
	// Output:
	// https://keys.example.com/t/acme
	// true
}
