// Integrating is a service in Go that uses Keyward: a token for each tenant,
// verified; a rotation and a revocation; a webhook; a change that is repeated.
// Copy from it and do not import it. Internal to Keyward: no compatibility promise.
//
//	KEYWARD_URL=https://keys.example.com KEYWARD_API_KEY=kw_… go run .
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/jwks"
)

const audience = "https://orders.example.com"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, os.Getenv("KEYWARD_URL"), os.Getenv("KEYWARD_API_KEY")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url, apiKey string) error {
	keyward, err := client.New(url, apiKey)
	if err != nil {
		return err
	}

	// Create the tenants. A key that your job has stored makes each change happen
	// once, whatever fails in between; without one the client sends a random one.
	number := strconv.FormatInt(time.Now().UnixNano(), 36)
	acme, globex := "acme-"+number, "globex-"+number
	verifiers := map[string]*jwks.Verifier{}
	for _, slug := range []string{acme, globex} {
		once := client.Once("create-" + slug)
		first, err := keyward.CreateTenant(ctx, client.CreateTenantRequest{Slug: slug}, once)
		if err != nil {
			return err
		}
		again, err := keyward.CreateTenant(ctx, client.CreateTenantRequest{Slug: slug}, once)
		if err != nil {
			return err
		}
		if first.ID != again.ID {
			return errors.New("the tenant was created twice")
		}
		if verifiers[slug], err = verifierOf(ctx, keyward, url, slug); err != nil {
			return err
		}
	}

	// A token of one tenant is nothing to another.
	issue := func(slug string) (*client.SignedToken, error) {
		return keyward.SignToken(ctx, slug, client.SignTokenRequest{Claims: client.JSONObject(`{"sub":"alice","aud":"` + audience + `"}`)})
	}
	old, err := issue(acme)
	if err != nil {
		return err
	}
	if _, err := verifiers[acme].Verify(ctx, old.Token); err != nil {
		return err
	}
	if _, err := verifiers[globex].Verify(ctx, old.Token); err == nil {
		return errors.New("globex accepts a token of acme")
	}
	fmt.Println("issued and verified")

	// After a rotation old and new tokens verify.
	if _, err := keyward.RotateKeys(ctx, acme, client.RotateRequest{}); err != nil {
		return err
	}
	next, err := issue(acme)
	if err != nil {
		return err
	}
	for _, token := range []string{old.Token, next.Token} {
		if _, err := verifiers[acme].Verify(ctx, token); err != nil {
			return err
		}
	}
	fmt.Println("followed a rotation")

	// A leaked key: nothing that it signed verifies from the moment the event arrives.
	if _, err := keyward.RevokeKey(ctx, acme, next.KID, nil, client.RevokeRequest{Reason: client.RevocationReasonCompromised}); err != nil {
		return err
	}
	err = until(ctx, func() bool {
		_, err := verifiers[acme].Verify(ctx, next.Token)
		return errors.Is(err, jwks.ErrSigningKeyNotFound)
	})
	if err != nil {
		return err
	}
	fmt.Println("heard of a revocation")

	action, err := receiveWebhook(ctx, keyward, url, acme)
	if err == nil {
		fmt.Println("verified a webhook:", action)
	}
	return err
}

// verifierOf returns a verifier of one tenant's tokens, which hears of revocations
// with a credential that can do nothing else.
func verifierOf(ctx context.Context, keyward *client.Client, url, slug string) (*jwks.Verifier, error) {
	made, err := keyward.CreateTenantAPIKey(ctx, slug, client.CreateTenantAPIKeyRequest{Role: client.CreateTenantAPIKeyRequestRoleTenantVerifier})
	if err != nil {
		return nil, err
	}
	issuer := url + "/t/" + slug
	keys, err := jwks.New(jwks.Config{URL: issuer + "/.well-known/jwks.json", AllowHTTP: isLocal(url)})
	if err != nil {
		return nil, err
	}
	go keys.Subscribe(ctx, jwks.Push{
		URL:   url + "/v1/tenants/" + slug + "/key-events",
		Token: func(context.Context) (string, error) { return made.Key, nil },
	})
	if err := until(ctx, func() bool { return keys.Stats().Subscribed }); err != nil {
		return nil, err
	}
	return jwks.NewVerifier(jwks.VerifierConfig{
		Client: keys, Issuer: issuer, Audience: []string{audience}, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
	})
}

// receiveWebhook creates a webhook and returns the action of its first delivery.
func receiveWebhook(ctx context.Context, keyward *client.Client, url, slug string) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	platform, err := jwks.New(jwks.Config{URL: url + "/.well-known/jwks.json", AllowHTTP: isLocal(url)})
	if err != nil {
		return "", err
	}
	defer platform.Close()
	var webhook string
	known, arrived := make(chan struct{}), make(chan string, 100)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-known // a delivery can be faster than the answer that says the id
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			err = verifyDelivery(r.Context(), platform, webhook, r.Header.Get("Keyward-Signature"), body)
		}
		if err != nil {
			http.Error(w, "not authentic", http.StatusUnauthorized)
			return
		}
		arrived <- r.Header.Get("Keyward-Event") // remember Keyward-Delivery: one can arrive more than once
		w.WriteHeader(http.StatusNoContent)
	}))
	made, err := keyward.CreateTenantWebhook(ctx, slug, client.CreateWebhookRequest{URL: "http://" + listener.Addr().String()})
	if err != nil {
		return "", err
	}
	webhook = made.ID.String()
	close(known)
	select {
	case action := <-arrived:
		return action, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// verifyDelivery checks who has sent a body, that it is for this webhook, and that
// it is not an old one sent again.
func verifyDelivery(ctx context.Context, platform *jwks.Client, webhook, signature string, body []byte) error {
	jws, err := jose.ParseDetached(signature, body, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
	if err != nil {
		return err
	}
	header := jws.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != "keyward-webhook+jws" {
		return errors.New("signed for something else")
	}
	key, err := platform.Key(ctx, header.KeyID)
	if err != nil {
		return err
	}
	if err := jws.DetachedVerify(body, key.Public()); err != nil {
		return err
	}
	var delivery struct {
		WebhookID string    `json:"webhook_id"`
		SentAt    time.Time `json:"sent_at"`
	}
	if err := json.Unmarshal(body, &delivery); err != nil {
		return err
	}
	if delivery.WebhookID != webhook || time.Since(delivery.SentAt).Abs() > 5*time.Minute {
		return errors.New("for another webhook, or of another time")
	}
	return nil
}

// isLocal says that a Keyward is on this machine, such as that of `keyward dev`.
func isLocal(url string) bool { return strings.HasPrefix(url, "http://127.0.0.1:") }

// until waits until something is so.
func until(ctx context.Context, is func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
