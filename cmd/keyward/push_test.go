package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
)

// subscribed starts Keyward with a tenant acme, and a jwks client with a set
// valid for five minutes that subscribes with an API key created with args.
// ended receives the end of its subscription.
func subscribed(t *testing.T) (rec *recorder, client *jwks.Client, ended chan error) {
	t.Helper()
	env := deployed(t)
	rec = &recorder{key: strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_admin").stdout)}
	r := launch(t, env, "serve", "--no-worker", "--log-format=text")
	rec.url = r.until(t, `msg=serving url=(\S+)`)[1]
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	rec.ask(t, "POST", "/v1/tenants", `{"slug":"acme","policies":[{"alg":"ES256","default":true}]}`, true)
	verifier := strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=tenant_verifier", "--tenant=acme").stdout)
	client, err := jwks.New(jwks.Config{URL: rec.url + "/t/acme/.well-known/jwks.json", AllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ended = make(chan error, 1)
	go func() {
		ended <- client.Subscribe(context.Background(), jwks.Push{
			URL:   rec.url + "/v1/tenants/acme/key-events",
			Token: func(context.Context) (string, error) { return verifier, nil },
		})
	}()
	eventually(t, "a subscription and a set", func() bool {
		_, warm := client.Age()
		return warm && client.Stats().Subscribed
	})
	return rec, client, ended
}

// A revoked key stops verifying at once in a subscribed service with a set
// valid for five more minutes.
func TestARevokedKeyStopsVerifyingAtOnce(t *testing.T) {
	rec, client, ended := subscribed(t)
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Client: client, AnyIssuer: true, AnyAudience: true, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
	})
	if err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for range 5 {
		old, kid := rec.sign(t)
		if _, err := verifier.Verify(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		rec.ask(t, "POST", "/v1/tenants/acme/keys/"+kid+"/revoke", `{"reason":"compromised"}`, true)
		answered := time.Now()
		eventually(t, "a refusal", func() bool {
			_, err := verifier.Verify(t.Context(), old)
			if err != nil && !errors.Is(err, jwks.ErrSigningKeyNotFound) {
				t.Fatal(err)
			}
			return err != nil
		})
		took = append(took, time.Since(answered))
		next, _ := rec.sign(t)
		if _, err := verifier.Verify(t.Context(), next); err != nil {
			t.Errorf("a token of the next key: %v", err)
		}
	}
	t.Logf("after the answer to the revocation, the key verified for another %s", took)

	client.Close()
	if err := <-ended; !errors.Is(err, jwks.ErrClosed) {
		t.Error(err)
	}
}

// A subscribed service applies a tenant's new not_before at once.
func TestNotBeforeIsHeardOfAtOnce(t *testing.T) {
	rec, client, _ := subscribed(t)
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{
		Client: client, AnyIssuer: true, AnyAudience: true, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
	})
	if err != nil {
		t.Fatal(err)
	}
	old, _ := rec.sign(t)
	token, err := verifier.Verify(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	rec.ask(t, "PATCH", "/v1/tenants/acme", `{"not_before":"`+token.IssuedAt.Add(time.Second).Format(time.RFC3339)+`"}`, true)
	eventually(t, "a refusal", func() bool {
		_, err := verifier.Verify(t.Context(), old)
		return errors.Is(err, jwks.ErrIssuedBefore)
	})
}

// A subscribed service receives the deletion of its tenant, which also revokes
// its credential.
func TestADeletedTenantsKeysStopVerifyingAtOnce(t *testing.T) {
	rec, client, _ := subscribed(t)
	_, kid := rec.sign(t)
	if _, err := client.Key(t.Context(), kid); err != nil {
		t.Fatal(err)
	}
	rec.ask(t, "DELETE", "/v1/tenants/acme", "", true)
	eventually(t, "a refusal", func() bool {
		_, err := client.Key(t.Context(), kid)
		return err != nil
	})
}

// sign returns a token signed by acme.
func (r *recorder) sign(t *testing.T) (token, kid string) {
	t.Helper()
	var signed struct{ Token, KID string }
	unmarshal(t, r.ask(t, "POST", "/v1/tenants/acme/tokens", `{"claims":{"sub":"alice"}}`, true), &signed)
	if signed.Token == "" || signed.KID == "" {
		t.Fatal("nothing was signed")
	}
	return signed.Token, signed.KID
}

// eventually waits until a condition is true, or fails the test.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there was not %s in two minutes", what)
		}
	}
}
