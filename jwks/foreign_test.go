package jwks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// Tokens that are not for this verifier, or not any more, cause no fetch: neither
// the first one, nor one for their kid.
func TestForeignTokensFetchNothing(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		header, claims map[string]any
		want           error
	}{
		"long expired":   {nil, map[string]any{"exp": now.Add(-1000 * time.Hour).Unix()}, jwks.ErrExpired},
		"just expired":   {nil, map[string]any{"exp": now.Unix() - 1}, jwks.ErrExpired},
		"not yet valid":  {nil, map[string]any{"nbf": now.Add(time.Hour).Unix()}, jwks.ErrNotYetValid},
		"other issuer":   {nil, map[string]any{"iss": "https://other.example"}, jwks.ErrIssuer},
		"other audience": {nil, map[string]any{"aud": "x"}, jwks.ErrAudience},
		"other list":     {nil, map[string]any{"aud": []string{"x", "y"}}, jwks.ErrAudience},
		"other type":     {map[string]any{"typ": "logout+jwt"}, nil, jwks.ErrType},
		"other alg":      {map[string]any{"alg": "HS256"}, nil, jwks.ErrAlgorithm},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, stranger := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
			stranger.Add("stranger", "ES256")
			verifier := newVerifier(t, issuer, jwks.VerifierConfig{})
			claims := map[string]any{"iss": issuerURL, "aud": "orders", "exp": now.Add(time.Hour).Unix()}
			for name, value := range test.claims {
				claims[name] = value
			}
			payload, _ := json.Marshal(claims)
			verify := func(of *jwkstest.Issuer, kid string, want error) {
				t.Helper()
				if _, err := verifier.Verify(t.Context(), of.Sign(kid, test.header, payload)); !errors.Is(err, want) || errors.Is(err, jwks.ErrRateLimited) {
					t.Errorf("kid %s: %v, want %v", kid, err, want)
				}
			}
			for range 20 {
				verify(issuer, "1", test.want)
				verify(stranger, "stranger", test.want)
			}
			requests(t, issuer, 0)
			if _, err := verifier.Verify(t.Context(), issuer.Token("1", jwkstest.Claims{"aud": "orders"})); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				verify(stranger, "stranger", test.want)
			}
			requests(t, issuer, 1)
		})
	}
}

// With the key at hand, a wrong signature is the first fault, so that nobody
// learns about claims from a token he made up.
func TestAForgedExpiredTokenHasAWrongSignature(t *testing.T) {
	issuer, stranger := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
	verifier := newVerifier(t, issuer, jwks.VerifierConfig{})
	if _, err := verifier.Verify(t.Context(), issuer.Token("1", jwkstest.Claims{"aud": "orders"})); err != nil {
		t.Fatal(err)
	}
	for of, want := range map[*jwkstest.Issuer]error{issuer: jwks.ErrExpired, stranger: jwks.ErrSignature} {
		if _, err := verifier.Verify(t.Context(), of.Token("1", jwkstest.Claims{"aud": "orders", "exp": 1})); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	requests(t, issuer, 1)
}

// Tokens from before the issuer's not_before are foreign too, once it is known.
func TestTokensFromBeforeTheEpochFetchNothing(t *testing.T) {
	issuer, old := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
	old.Add("old", "ES256")
	issuer.NotBefore(time.Now().Add(-time.Minute))
	verifier := newVerifier(t, issuer, jwks.VerifierConfig{})
	if _, err := verifier.Verify(t.Context(), issuer.Token("1", jwkstest.Claims{"aud": "orders"})); err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(t.Context(), old.Token("old", jwkstest.Claims{"aud": "orders", "iat": time.Now().Add(-time.Hour).Unix()})); !errors.Is(err, jwks.ErrIssuedBefore) {
		t.Error(err)
	}
	requests(t, issuer, 1)
}

// Whatever the budget says, an unknown kid is one that was not found.
func TestUnknownKidsAreNotFoundBeyondTheBudget(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	for name, config := range map[string]jwks.Config{
		"of unknown kids": {UnknownKidsPerMinute: 1, Cooldown: 1}, "of all fetches": {RateLimit: true, RequestsPerMinute: 1, Cooldown: 1},
	} {
		client := newClient(t, issuer, config)
		wants(t, client, "1", nil)
		for n := range 20 {
			wants(t, client, fmt.Sprint("made up ", n), jwks.ErrSigningKeyNotFound)
		}
		t.Log(name)
		wants(t, client, "1", nil)
	}
}

// An issuer that uses a kid again for another key is found out by the first
// signature of the new key, and forged signatures cost no more than unknown kids.
func TestAKidThatIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer, stranger := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
		verifier := newVerifier(t, issuer, jwks.VerifierConfig{Algorithms: []jose.SignatureAlgorithm{jose.ES256}})
		verify := func(of *jwkstest.Issuer, want error) {
			t.Helper()
			if _, err := verifier.Verify(t.Context(), of.Token("1", jwkstest.Claims{"aud": "orders"})); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		verify(issuer, nil)
		for range 20 {
			verify(stranger, jwks.ErrSignature)
		}
		requests(t, issuer, 1) // the set is young enough
		time.Sleep(time.Minute)
		for range 600 { // a minute of forged signatures
			verify(stranger, jwks.ErrSignature)
			time.Sleep(100 * time.Millisecond)
		}
		if n := issuer.Requests(); n < 2 || n > 1+6+6 {
			t.Errorf("%d requests", n)
		}
		time.Sleep(time.Minute)
		issuer.Revoke("1")
		issuer.Add("1", "ES256")
		verify(issuer, nil)
		verify(stranger, jwks.ErrSignature)
	})
}

// A kid that is used again for a key of another type is found out by the first token of
// the new key, and tokens of another algorithm cost no more than unknown kids.
func TestAKidThatIsUsedAgainForAnotherAlgorithm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer, stranger := jwkstest.New(issuerURL), jwkstest.New(issuerURL)
		stranger.Revoke("1")
		stranger.Add("1", "ES384")
		verifier := newVerifier(t, issuer, jwks.VerifierConfig{Algorithms: []jose.SignatureAlgorithm{jose.ES256, jose.ES384}})
		verify := func(of *jwkstest.Issuer, want error) {
			t.Helper()
			if _, err := verifier.Verify(t.Context(), of.Token("1", jwkstest.Claims{"aud": "orders"})); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
		verify(issuer, nil)
		for range 20 {
			verify(stranger, jwks.ErrAlgorithm)
		}
		requests(t, issuer, 1) // the set is young enough
		time.Sleep(time.Minute)
		for range 600 { // a minute of tokens of another algorithm
			verify(stranger, jwks.ErrAlgorithm)
			time.Sleep(100 * time.Millisecond)
		}
		if n := issuer.Requests(); n < 2 || n > 1+6+6 {
			t.Errorf("%d requests", n)
		}
		time.Sleep(time.Minute)
		issuer.Revoke("1")
		issuer.Add("1", "ES384")
		verify(issuer, nil)
		time.Sleep(time.Minute)
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) })
		verify(jwkstest.New(issuerURL), jwks.ErrAlgorithm) // the set at hand answers well enough
		verify(jwkstest.New(issuerURL), jwks.ErrAlgorithm)
	})
}

// One key that is listed several times under one kid is one key: with and without
// its algorithm, or for each of several.
func TestOneKeyListedSeveralTimes(t *testing.T) {
	r, e := rsaJWK(t, 2048), ecJWK(t)
	client := holding(t,
		r.with(members{"kid": "r"}), r.with(members{"kid": "r", "alg": "RS256"}), r.with(members{"kid": "r", "alg": "PS256", "n": "AAAA" + r["n"].(string)}),
		e.with(members{"kid": "e"}), e.with(members{"kid": "e", "alg": "ES256"}),
		e.with(members{"kid": "two"}), ecJWK(t).with(members{"kid": "two", "alg": "ES256"}),
	)
	for _, kid := range []string{"r", "e"} {
		wants(t, client, kid, nil)
	}
	wants(t, client, "two", jwks.ErrSigningKeyNotFound)
	for _, header := range []map[string]any{{"alg": "RS256", "kid": "r"}, {"alg": "PS256", "kid": "r"}, {"alg": "ES256", "kid": "e"}} {
		if _, err := client.PublicKeyFor(t.Context(), header); err != nil {
			t.Errorf("%v: %v", header, err)
		}
	}
	only := holding(t, e.with(members{"kid": "a"}), e.with(members{"kid": "b", "alg": "ES256"}))
	if key, err := only.Key(t.Context(), ""); err != nil || key.ID() != "a" {
		t.Errorf("no kid, one key under two: %v", err)
	}
}

// Sets by exact names and once each; a bad key spoils no other.
func TestNamesInSets(t *testing.T) {
	key := string(ecJWK(t).with(members{"kid": "1"}))
	for set, fine := range map[string]bool{
		`{"keys":[` + key + `]}`: true, "\ufeff" + `{"keys":[` + key + `]}`: true, `{"Keys":[],"KEYS":7,"keys":[` + key + `]}`: true,
		`{"keys":[{"kid":"1","kid":"1"},` + key + `,{"x":{"a":1,"a":2}}]}`: true, `{"more":{"a":1,"a":2},"keys":[` + key + `]}`: true,
		`{"Keys":[` + key + `]}`: false, `{"keys":[],"keys":[` + key + `]}`: false, `{"keys":[` + key + `],"keys":[]}`: false,
		`{"keys":` + key + `}`: false, `{"keys":"` + "x" + `"}`: false, `[` + key + `]`: false, `{"keys":[` + key + `]}x`: false,
	} {
		client, err := jwks.New(jwks.Config{Local: jwks.Static([]byte(set))})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Key(t.Context(), "1")
		if (err == nil) != fine || err != nil && !errors.Is(err, jwks.ErrJWKS) {
			t.Errorf("%s: %v", set, err)
		}
	}
}
