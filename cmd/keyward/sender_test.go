package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// told is a request that a receiver got.
type told struct {
	signature string
	body      []byte
}

// A running Keyward posts an event after its commit, signed with the platform's
// published key.
func TestServePostsEvents(t *testing.T) {
	env := deployed(t)
	env["KEYWARD_WEBHOOK_ALLOW"] = "127.0.0.0/8"
	rec := &recorder{key: strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_admin").stdout)}
	r := launch(t, env, "serve", "--log-format=text")
	rec.url = r.until(t, `msg=serving url=(\S+)`)[1]
	t.Cleanup(http.DefaultClient.CloseIdleConnections)

	got := make(chan told, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- told{r.Header.Get("Keyward-Signature"), body}
	}))
	defer receiver.Close()
	rec.ask(t, "POST", "/v1/webhooks", `{"url":"`+receiver.URL+`","actions":["key.revoked"]}`, true)
	rec.ask(t, "POST", "/v1/tenants", `{"slug":"acme","policies":[{"alg":"ES256","default":true}]}`, true)
	rec.ask(t, "POST", "/v1/tenants/acme/webhooks", `{"url":"`+receiver.URL+`","actions":["key.revoked"]}`, true)
	_, kid := rec.sign(t)
	rec.ask(t, "POST", "/v1/tenants/acme/keys/"+kid+"/revoke", `{"reason":"compromised"}`, true)

	var set jose.JSONWebKeySet
	unmarshal(t, rec.ask(t, "GET", "/.well-known/jwks.json", "", false), &set)
	webhooks := map[string]bool{}
	for len(webhooks) < 2 {
		d := <-got
		jws, err := jose.ParseDetached(d.signature, d.body, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		if err := jws.DetachedVerify(d.body, set.Key(jws.Signatures[0].Protected.KeyID)[0]); err != nil {
			t.Error(err)
		}
		var b struct {
			WebhookID string `json:"webhook_id"`
			Event     struct{ Tenant, KID, Action string }
		}
		if err := json.Unmarshal(d.body, &b); err != nil {
			t.Fatal(err)
		}
		if b.Event.Tenant != "acme" || b.Event.Action != "key.revoked" {
			t.Errorf("%s", d.body)
		}
		webhooks[b.WebhookID] = true
	}
	metrics := ""
	eventually(t, "two deliveries in the metrics", func() bool {
		metrics = string(rec.ask(t, "GET", "/metrics", "", false))
		return strings.Contains(metrics, `keyward_webhook_deliveries_total{outcome="failed"} 0`) &&
			!strings.Contains(metrics, `keyward_webhook_deliveries_total{outcome="delivered"} 0`)
	})
	if !strings.Contains(metrics, "keyward_webhook_pending_deliveries") {
		t.Error(metrics)
	}
}
