package jwks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

func TestDiscovery(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"OpenID Connect": {metadata("/t/acme/.well-known/openid-configuration", issuerURL, issuerURL+"/jwks.json"), nil},
		"RFC 8414":       {metadata("/.well-known/oauth-authorization-server/t/acme", issuerURL, issuerURL+"/jwks.json"), nil},
		"other host":     {metadata("/t/acme/.well-known/openid-configuration", issuerURL, "https://keys.example/jwks.json"), nil},
		"other issuer":   {metadata("/t/acme/.well-known/openid-configuration", issuerURL+"/", issuerURL+"/jwks.json"), jwks.ErrJWKS},
		"no jwks_uri":    {metadata("/t/acme/.well-known/openid-configuration", issuerURL, ""), jwks.ErrJWKS},
		"not https":      {metadata("/t/acme/.well-known/openid-configuration", issuerURL, "http://issuer.example/jwks.json"), jwks.ErrJWKS},
		"not JSON":       {text("<html>"), jwks.ErrJWKS},
		"not there":      {http.NotFound, jwks.ErrJWKS},
		"an error":       {down, jwks.ErrJWKS},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := jwkstest.New(issuerURL)
			client, err := jwks.New(jwks.Config{Issuer: issuerURL, HTTPClient: &http.Client{Transport: routes{test.answer, issuer}}})
			if err != nil {
				t.Fatal(err)
			}
			wants(t, client, "1", test.want)
		})
	}
}

// routes sends requests for metadata to one handler and others to an issuer.
type routes struct {
	metadata http.Handler
	issuer   *jwkstest.Issuer
}

func (r routes) RoundTrip(request *http.Request) (*http.Response, error) {
	if !strings.Contains(request.URL.Path, ".well-known") {
		return r.issuer.Client().Transport.RoundTrip(request)
	}
	other := jwkstest.New("https://other.example")
	other.Answer(r.metadata.ServeHTTP)
	at := request.Clone(request.Context())
	at.Header.Set("Path", request.URL.Path)
	at.URL.Path = "/jwks.json"
	return other.Client().Transport.RoundTrip(at)
}

func metadata(path, issuer, jwksURI string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Path") != path {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "jwks_uri": jwksURI})
	}
}

func TestLocalKeysAreTriedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer, own := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
		issuer.Add("remote", "ES256")
		own.Add("local", "ES256")
		set := own.JWKS()
		client := newClient(t, issuer, jwks.Config{Local: func(context.Context) ([]byte, error) { return set, nil }})
		wants(t, client, "local", nil)
		requests(t, issuer, 0)
		wants(t, client, "remote", nil)
		requests(t, issuer, 1)
		key, err := client.Key(t.Context(), "1") // both have it
		if err != nil || key.PEM() != localPEM(t, own, "1") {
			t.Error("the local key does not come first", err)
		}
		own.Add("later", "ES256")
		set = own.JWKS()
		time.Sleep(6 * time.Second)
		wants(t, client, "later", nil)

		keys, err := client.Keys(t.Context())
		if err != nil || len(keys) != 5 {
			t.Errorf("%d keys, %v", len(keys), err)
		}
	})
}

func localPEM(t *testing.T, issuer *jwkstest.Issuer, kid string) string {
	t.Helper()
	client, err := jwks.New(jwks.Config{Local: jwks.Static(issuer.JWKS())})
	if err != nil {
		t.Fatal(err)
	}
	key, err := client.Key(t.Context(), kid)
	if err != nil {
		t.Fatal(err)
	}
	return key.PEM()
}

func TestWithoutLocalKeysTheIssuerIsAsked(t *testing.T) {
	broken := func(context.Context) ([]byte, error) { return nil, errRefused }
	for name, local := range map[string]func(context.Context) ([]byte, error){
		"nothing": jwks.Static(nil), "no keys": jwks.Static([]byte(`{"keys":[]}`)), "nonsense": jwks.Static([]byte(`x`)),
		"an error": broken, "no file": jwks.File("/nowhere/jwks.json"), "no variable": jwks.Env("KEYWARD_TEST_NO_JWKS"),
	} {
		client := newClient(t, jwkstest.New(issuerURL), jwks.Config{Local: local})
		if _, err := client.Key(t.Context(), "1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	alone, err := jwks.New(jwks.Config{Local: broken})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, alone, "1", jwks.ErrJWKS)
	wants(t, alone, "1", errRefused)
}

func TestFilesAndVariables(t *testing.T) {
	set := jwkstest.New(issuerURL).JWKS()
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JWKS_KEYS", string(set))
	for _, local := range []func(context.Context) ([]byte, error){jwks.File(file), jwks.Env("JWKS_KEYS")} {
		client, err := jwks.New(jwks.Config{Local: local})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, client, "1", nil)
		if raw, err := client.Raw(t.Context()); err != nil || string(raw) != string(set) {
			t.Error(err)
		}
	}
}

func TestFetchReplacesHTTP(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	var asked []string
	client, err := jwks.New(jwks.Config{URL: "redis://jwks:keys", Fetch: func(_ context.Context, url string) ([]byte, error) {
		if asked = append(asked, url); len(asked) == 1 {
			return nil, errRefused
		}
		return issuer.JWKS(), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, client, "1", errRefused)
	wants(t, client, "1", nil)
	if !slices.Equal(asked, []string{"redis://jwks:keys", "redis://jwks:keys"}) {
		t.Error(asked)
	}
}

func TestHeadersAndPEM(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	issuer.Answer(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "orders/1" || !strings.Contains(r.Header.Get("Accept"), "application/json") {
			t.Error(r.Header)
		}
		_, _ = w.Write(issuer.JWKS())
	})
	client := newClient(t, issuer, jwks.Config{Header: http.Header{"user-agent": {"orders/1"}}})
	key, err := client.Key(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode([]byte(key.PEM()))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		t.Fatal(key.PEM())
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil || !key.Public().(*ecdsa.PublicKey).Equal(public) {
		t.Error("the PEM is of another key", err)
	}
}

// A set may have more keys than are kept ready; none of them costs a fetch.
func TestKeysThatAreNotReadyCostNoFetch(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	for _, kid := range strings.Split("abcdefghij", "") {
		issuer.Add(kid, "EdDSA")
	}
	client := newClient(t, issuer, jwks.Config{MaxEntries: 2})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				for _, kid := range strings.Split("abcdefghij", "") {
					if key, err := client.Key(t.Context(), kid); err != nil || key.ID() != kid {
						t.Errorf("%s: %v", kid, err)
					}
				}
			}
		})
	}
	all.Wait()
	requests(t, issuer, 1)
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	for name, config := range map[string]jwks.Config{
		"nothing": {}, "http": {URL: "http://issuer.example"}, "no host": {URL: "https:///x"}, "no scheme": {URL: "issuer.example/jwks"},
		"a fragment": {URL: "https://issuer.example/#x"}, "http issuer": {Issuer: "http://issuer.example"}, "no URL": {URL: "://"},
		"negative age": {URL: "https://issuer.example", MaxAge: -1}, "negative entries": {URL: "https://issuer.example", MaxEntries: -1},
	} {
		if _, err := jwks.New(config); !errors.Is(err, jwks.ErrArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What jwks-rsa logs under DEBUG=jwks is here at debug level.
func TestLog(t *testing.T) {
	var log strings.Builder
	issuer := jwkstest.New(issuerURL)
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client := newClient(t, issuer, jwks.Config{RateLimit: true, Logger: logger, URL: "https://me:secret@issuer.example/jwks.json?token=secret"})
	wants(t, client, "1", nil)
	for _, want := range []string{"Configured caching", "max=5", "age=10m", "Configured rate limiting", "per_minute=10", "Fetching keys from", "signing_keys=1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log", want)
		}
	}
	if strings.Contains(log.String(), "secret") {
		t.Error("a secret is in the log")
	}
}
