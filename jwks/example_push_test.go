package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/keyward/keyward/jwks"
)

// A service that hears of revocations. The verifier gets the client that listens.
func ExampleClient_Subscribe() {
	events := httptest.NewTLSServer(keyward)
	defer events.Close()
	client := must(jwks.New(jwks.Config{Issuer: "https://keys.example.com/t/acme", HTTPClient: local}))
	defer client.Close()
	before := must(client.Key(ctx, "1"))

	go client.Subscribe(ctx, jwks.Push{
		URL:        events.URL + "/v1/tenants/acme/key-events",
		Token:      func(context.Context) (string, error) { return "an API key of a tenant_verifier", nil },
		HTTPClient: events.Client(), // for this example only
	})
	for client.Stats().Events == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := client.Key(ctx, "1")
	fmt.Println(before.ID(), errors.Is(err, jwks.ErrSigningKeyNotFound))
	// Output: 1 true
}

// keyward stands for the service, where somebody revokes the key 1.
var keyward = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "id: 8\nevent: key.revoked\ndata: {\"kid\":\"1\"}\n\n")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
})
