package jwks_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// An issuer's not_before comes with its set, also where the set itself has not
// changed (304), and goes as it came.
func TestTokensFromBeforeTheIssuersEpoch(t *testing.T) {
	issuer := jwkstest.New(issuerURL, "EdDSA")
	client, err := jwks.New(jwks.Config{Issuer: issuer.URL, HTTPClient: issuer.Client()})
	if err != nil {
		t.Fatal(err)
	}
	verifier := newVerifier(t, issuer, jwks.VerifierConfig{Client: client})
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	token := func(claims jwkstest.Claims) string {
		claims["aud"] = "orders"
		return issuer.Token("1", claims)
	}
	dated := func(iat any) string { return token(jwkstest.Claims{"iat": iat}) }
	old, new, undated := dated(at.Unix()-1), dated(at.Unix()), token(jwkstest.Claims{"iat": nil})
	verify := func(raw string, want error) {
		t.Helper()
		if _, err := verifier.Verify(t.Context(), raw); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	refresh := func() {
		t.Helper()
		if err := client.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	verify(old, nil)

	issuer.NotBefore(at)
	verify(old, nil) // nobody has asked since
	sent := issuer.Sent()
	refresh()
	if issuer.Sent() != sent || !client.NotBefore().Equal(at) {
		t.Fatalf("%d sets were sent, %d before; the client has %v", issuer.Sent(), sent, client.NotBefore())
	}
	verify(old, jwks.ErrIssuedBefore)
	verify(old, jwks.ErrExpired)
	verify(old, jwks.ErrToken)
	verify(new, nil)
	verify(undated, jwks.ErrIssuedBefore)
	verify(dated(float64(at.Unix())-0.5), jwks.ErrIssuedBefore)

	issuer.NotBefore(time.Time{})
	refresh()
	verify(old, jwks.ErrIssuedBefore) // a 304 takes nothing back
	issuer.Add("2", "EdDSA")
	refresh()
	verify(old, nil) // a set does
	verify(undated, nil)
	issuer.NotBefore(at.Add(-time.Hour))
	refresh()
	verify(old, nil) // moved back
}

// What is no NumericDate is no epoch, and does no harm.
func TestAnEpochThatIsNone(t *testing.T) {
	for _, value := range []string{"soon", "-1", "1e300", "2026-11-24T00:00:00Z", "99999999999999"} {
		issuer := jwkstest.New(issuerURL, "EdDSA")
		issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Keyward-Not-Before", value)
			_, _ = w.Write(issuer.JWKS())
		})
		if _, err := newVerifier(t, issuer, jwks.VerifierConfig{}).Verify(t.Context(), issuer.Token("1", jwkstest.Claims{"aud": "orders"})); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
}
