package jwks_test

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// signedSet returns the issuer's present set, signed by kid; claims replace those of an
// ordinary one.
func signedSet(issuer *jwkstest.Issuer, kid string, claims jwkstest.Claims) string {
	var set struct {
		Keys json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(issuer.JWKS(), &set); err != nil {
		panic(err)
	}
	now := time.Now()
	all := jwkstest.Claims{"iss": issuer.URL, "sub": issuer.URL, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "keys": set.Keys}
	for name, value := range claims {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return issuer.Sign(kid, map[string]any{"typ": "jwk-set+jwt"}, payload)
}

// publicJWK returns a key of the issuer's set, and its thumbprint.
func publicJWK(t *testing.T, issuer *jwkstest.Issuer, kid string) (jwk []byte, thumbprint string) {
	t.Helper()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(issuer.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if err := json.Unmarshal(raw, &k); err != nil {
			t.Fatal(err)
		}
		if k.KeyID == kid {
			sum, err := k.Thumbprint(crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			return raw, base64URL(sum)
		}
	}
	t.Fatalf("no key %s", kid)
	return nil, ""
}

// pinned returns a client that gets the set from a function, as from a CDN.
func pinned(t *testing.T, issuer *jwkstest.Issuer, pin jwks.Pin, set func() string) *jwks.Client {
	t.Helper()
	client, err := jwks.New(jwks.Config{
		URL: issuer.URL + "/jwks.jwt", Pin: &pin, Cooldown: time.Nanosecond, UnknownKidsPerMinute: 1_000_000,
		HTTPClient: &http.Client{Transport: carrier(set)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// carrier answers every request with a text.
type carrier func() string

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	return answerWith(r, c()), nil
}

// What a stranger could put in the place of a signed set is refused, whichever way it
// deviates.
func TestOnlySetsOfThePinnedKeyAreAccepted(t *testing.T) {
	issuer, stranger := jwkstest.New(issuerURL, "ES256", "EdDSA"), jwkstest.New(issuerURL)
	jwk, thumbprint := publicJWK(t, issuer, "1")
	now := time.Now()
	for name, test := range map[string]struct {
		set  string
		want error
	}{
		"signed":                  {signedSet(issuer, "1", nil), nil},
		"a line break at its end": {signedSet(issuer, "1", nil) + "\n", nil},
		"not signed":              {string(issuer.JWKS()), jwks.ErrNotSigned},
		"by a stranger":           {signedSet(stranger, "1", nil), jwks.ErrNotSigned},
		"by a key not pinned":     {signedSet(issuer, "2", nil), jwks.ErrNotSigned},
		"another typ":             {issuer.Sign("1", map[string]any{"typ": "JWT"}, payloadOf(signedSet(issuer, "1", nil))), jwks.ErrNotSigned},
		"a token":                 {issuer.Token("1", nil), jwks.ErrNotSigned},
		"changed":                 {tampered(signedSet(issuer, "1", nil), signedSet(stranger, "1", nil)), jwks.ErrNotSigned},
		"no exp, as a history":    {signedSet(issuer, "1", jwkstest.Claims{"exp": nil}), jwks.ErrSetExpired},
		"beyond its exp":          {signedSet(issuer, "1", jwkstest.Claims{"exp": now.Add(-time.Second).Unix()}), jwks.ErrSetExpired},
		"of another issuer":       {signedSet(issuer, "1", jwkstest.Claims{"iss": "https://other.example", "sub": "https://other.example"}), jwks.ErrNotSigned},
		"about another issuer":    {signedSet(issuer, "1", jwkstest.Claims{"sub": "https://other.example"}), jwks.ErrNotSigned},
		"without iat":             {signedSet(issuer, "1", jwkstest.Claims{"iat": nil}), jwks.ErrNotSigned},
		"of the future":           {signedSet(issuer, "1", jwkstest.Claims{"iat": now.Add(time.Hour).Unix(), "exp": now.Add(2 * time.Hour).Unix()}), jwks.ErrNotSigned},
		"a version that is none":  {signedSet(issuer, "1", jwkstest.Claims{"version": "7"}), jwks.ErrNotSigned},
		"nothing":                 {"", jwks.ErrNotSigned},
	} {
		for way, pin := range map[string]jwks.Pin{
			"by key":        {Keys: jwk, Issuer: issuerURL},
			"by key set":    {Keys: []byte(`{"keys":[` + string(jwk) + `]}`), Issuer: issuerURL},
			"by thumbprint": {Thumbprints: []string{thumbprint}, Issuer: issuerURL},
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				_, err := pinned(t, issuer, pin, func() string { return test.set }).Key(t.Context(), "1")
				if !errors.Is(err, test.want) || test.want != nil && !errors.Is(err, jwks.ErrJWKS) {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
		}
	}
}

// A successor in a set is trusted to sign the next one; a key that has left is not, nor
// is one that no set had.
func TestASetEndorsesTheSignersOfTheNext(t *testing.T) {
	issuer := jwkstest.New(issuerURL, "ES256", "ES256")
	jwk, _ := publicJWK(t, issuer, "1")
	set := signedSet(issuer, "1", jwkstest.Claims{"version": 1})
	client := pinned(t, issuer, jwks.Pin{Keys: jwk}, func() string { return set })
	refreshes := func(next string, want error) {
		t.Helper()
		set = next
		err := client.Refresh(t.Context())
		if err != nil {
			err = client.Refresh(t.Context()) // the first failure of a row causes no back-off
		}
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	refreshes(set, nil)
	issuer.Add("3", "ES256")
	refreshes(signedSet(issuer, "2", jwkstest.Claims{"version": 2}), nil)
	first := signedSet(issuer, "1", jwkstest.Claims{"version": 3})
	issuer.Revoke("1")
	refreshes(signedSet(issuer, "3", jwkstest.Claims{"version": 3}), nil)
	refreshes(first, jwks.ErrNotSigned) // by the pinned key, which is gone
	if _, err := client.Key(t.Context(), "3"); err != nil {
		t.Errorf("the last good set is not used: %v", err)
	}
}

func TestAFreshKeyEndsTheChain(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	jwk, _ := publicJWK(t, issuer, "1")
	set := signedSet(issuer, "1", nil)
	client := pinned(t, issuer, jwks.Pin{Keys: jwk}, func() string { return set })
	wants(t, client, "1", nil)
	issuer.Add("2", "ES256")
	set = signedSet(issuer, "2", nil)
	if err := client.Refresh(t.Context()); !errors.Is(err, jwks.ErrNotSigned) {
		t.Errorf("%v", err)
	}
}

// An older set is refused: by version and epoch where sets have them, or else by iat.
func TestASetNeverGoesBack(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	jwk, _ := publicJWK(t, issuer, "1")
	now := time.Now()
	for name, test := range map[string]struct {
		first, second jwkstest.Claims
		want          error
	}{
		"the same again":            {jwkstest.Claims{"version": 7}, jwkstest.Claims{"version": 7}, nil},
		"the same signed before":    {jwkstest.Claims{"version": 7}, jwkstest.Claims{"version": 7, "iat": now.Add(-time.Minute).Unix()}, nil},
		"newer":                     {jwkstest.Claims{"version": 7}, jwkstest.Claims{"version": 8}, nil},
		"older":                     {jwkstest.Claims{"version": 7}, jwkstest.Claims{"version": 6}, jwks.ErrRollback},
		"older but signed later":    {jwkstest.Claims{"version": 7}, jwkstest.Claims{"version": 6, "iat": now.Add(time.Minute).Unix()}, jwks.ErrRollback},
		"after a recovery":          {jwkstest.Claims{"version": 7}, jwkstest.Claims{"version": 2, "epoch": 1}, nil},
		"of before a recovery":      {jwkstest.Claims{"version": 7, "epoch": 1}, jwkstest.Claims{"version": 9}, jwks.ErrRollback},
		"older without versions":    {jwkstest.Claims{}, jwkstest.Claims{"iat": now.Add(-time.Minute).Unix()}, jwks.ErrRollback},
		"the same without versions": {jwkstest.Claims{"iat": now.Unix()}, jwkstest.Claims{"iat": now.Unix()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			state := jwks.PinFile(filepath.Join(t.TempDir(), "state"))
			set := signedSet(issuer, "1", test.first)
			pin := jwks.Pin{Keys: jwk, State: state}
			client := pinned(t, issuer, pin, func() string { return set })
			wants(t, client, "1", nil)
			set = signedSet(issuer, "1", test.second)
			if err := client.Refresh(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			again := pinned(t, issuer, pin, func() string { return set }) // a process that starts again
			if _, err := again.Key(t.Context(), "1"); !errors.Is(err, test.want) {
				t.Errorf("after a restart: %v, want %v", err, test.want)
			}
		})
	}
}

// A signed set is used no longer than its exp, whatever the carrier's fields say.
func TestASignedSetEndsWithItsExp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		jwk, _ := publicJWK(t, issuer, "1")
		set := signedSet(issuer, "1", jwkstest.Claims{"exp": time.Now().Add(time.Minute).Unix()})
		client, err := jwks.New(jwks.Config{
			URL: issuer.URL, Pin: &jwks.Pin{Keys: jwk}, StaleIfError: time.Hour, MaxAge: time.Hour,
			HTTPClient: &http.Client{Transport: carrier(func() string { return set })},
		})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, client, "1", nil)
		time.Sleep(59 * time.Second)
		wants(t, client, "1", nil)
		time.Sleep(2 * time.Second)
		wants(t, client, "1", jwks.ErrSetExpired)
	})
}

// A file is a carrier like others, and an older one does not hide a newer set.
func TestAPinnedFile(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	jwk, _ := publicJWK(t, issuer, "1")
	name := filepath.Join(t.TempDir(), "jwks.jwt")
	issuer.Add("2", "ES256")
	old := signedSet(issuer, "1", jwkstest.Claims{"version": 1, "not_before": time.Now().Add(time.Hour).Unix()})
	if err := os.WriteFile(name, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := jwks.New(jwks.Config{Local: jwks.File(name), Pin: &jwks.Pin{Keys: jwk, Issuer: issuerURL}})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, client, "2", nil)
	if client.NotBefore().IsZero() {
		t.Error("not_before of the signed set does not count")
	}
	issuer.Revoke("2")
	set := signedSet(issuer, "1", jwkstest.Claims{"version": 2})
	both, err := jwks.New(jwks.Config{
		Local: jwks.File(name), Pin: &jwks.Pin{Keys: jwk}, URL: issuer.URL,
		HTTPClient: &http.Client{Transport: carrier(func() string { return set })},
	})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, both, "2", nil)
	if err := both.Refresh(t.Context()); !errors.Is(err, nil) && !errors.Is(err, jwks.ErrRollback) {
		t.Fatal(err)
	}
	if _, err := both.Key(t.Context(), "2"); err == nil {
		t.Error("a key that has left is found in an older file")
	}
	wants(t, both, "1", nil)
}

func TestDiscoveryNamesTheSignedSet(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	jwk, _ := publicJWK(t, issuer, "1")
	for member, want := range map[string]error{"signed_jwks_uri": nil, "jwks_uri": jwks.ErrJWKS} {
		client, err := jwks.New(jwks.Config{
			Issuer: issuerURL, Pin: &jwks.Pin{Keys: jwk},
			HTTPClient: &http.Client{Transport: answering(func(r *http.Request) *http.Response {
				if strings.Contains(r.URL.Path, ".well-known") {
					return answerWith(r, `{"issuer":"`+issuerURL+`","`+member+`":"`+issuerURL+`/jwks.jwt"}`)
				}
				return answerWith(r, signedSet(issuer, "1", nil))
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, client, "1", want)
	}
}

func TestAPinThatCannotWork(t *testing.T) {
	for name, pin := range map[string]jwks.Pin{
		"empty":          {},
		"a private key":  {Keys: []byte(`{"kty":"oct","k":"AAAA"}`)},
		"no key":         {Keys: []byte(`{"keys":[]}`)},
		"no thumbprint":  {Thumbprints: []string{"abc"}},
		"hex thumbprint": {Thumbprints: []string{strings.Repeat("ab", 32)}},
	} {
		if _, err := jwks.New(jwks.Config{URL: issuerURL, Pin: &pin}); !errors.Is(err, jwks.ErrArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A state that cannot be read is no reason to begin with the pin again.
func TestAPinWhoseStateFails(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	jwk, _ := publicJWK(t, issuer, "1")
	for name, state := range map[string]jwks.PinState{
		"an error": stateOf(func() ([]byte, error) { return nil, os.ErrPermission }),
		"damaged":  stateOf(func() ([]byte, error) { return []byte("a.b.c"), nil }),
	} {
		client := pinned(t, issuer, jwks.Pin{Keys: jwk, State: state}, func() string { return signedSet(issuer, "1", nil) })
		if _, err := client.Key(t.Context(), "1"); !errors.Is(err, jwks.ErrJWKS) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type stateOf func() ([]byte, error)

func (s stateOf) Load(context.Context) ([]byte, error) { return s() }
func (s stateOf) Save(context.Context, []byte) error   { return nil }

type answering func(*http.Request) *http.Response

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }
