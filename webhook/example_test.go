package webhook_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// begin of docs/webhooks.md

// receiver takes the deliveries of one webhook.
type receiver struct {
	webhookID string
	keys      *jwks.Client    // of https://keys.example.com/.well-known/jwks.json
	handled   map[string]bool // ids of deliveries; keep them where they outlive the process
}

type delivery struct {
	ID        string    `json:"id"`
	WebhookID string    `json:"webhook_id"`
	SentAt    time.Time `json:"sent_at"`
	Event     struct {
		Tenant string `json:"tenant"`
		Seq    int64  `json:"seq"`
		Action string `json:"action"`
		KID    string `json:"kid"`
	} `json:"event"`
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "not read", http.StatusBadRequest)
		return
	}
	d, err := rc.verify(r.Context(), r.Header.Get("Keyward-Signature"), body)
	if err != nil {
		http.Error(w, "not authentic", http.StatusUnauthorized)
		return
	}
	if !rc.handled[d.ID] {
		fmt.Println(d.Event.Tenant, d.Event.Seq, d.Event.Action, d.Event.KID) // what there is to do
		rc.handled[d.ID] = true
	}
	w.WriteHeader(http.StatusNoContent)
}

// verify checks who has sent a body, that it is for this webhook, and that it is
// not an old one sent again.
func (rc *receiver) verify(ctx context.Context, signature string, body []byte) (d delivery, err error) {
	algorithms := []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA} // those of the platform's policies
	jws, err := jose.ParseDetached(signature, body, algorithms)
	if err != nil {
		return d, err
	}
	header := jws.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != "keyward-webhook+jws" {
		return d, errors.New("signed for something else")
	}
	key, err := rc.keys.Key(ctx, header.KeyID)
	if err != nil {
		return d, err
	}
	if err := jws.DetachedVerify(body, key.Public()); err != nil {
		return d, err
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return d, err
	}
	if d.WebhookID != rc.webhookID || time.Since(d.SentAt).Abs() > 5*time.Minute {
		return d, errors.New("for somebody else, or of another time")
	}
	return d, nil
}

// end of docs/webhooks.md

// A receiver that verifies what it is sent.
func Example_receiver() {
	platform := jwkstest.New("https://keys.example.com", jose.ES256) // stands for Keyward
	client, err := jwks.New(jwks.Config{URL: platform.JWKSURL(), HTTPClient: platform.Client()})
	if err != nil {
		panic(err)
	}
	defer client.Close()
	rc := &receiver{webhookID: "0198c2f4-7d1e-7c7a-9d0b-3f6d2f6f2a11", keys: client, handled: map[string]bool{}}

	send := func(webhookID string, at time.Time, typ string) {
		body := fmt.Appendf(nil, `{"id":"1","webhook_id":%q,"attempt":1,"sent_at":%q,"event":{"tenant":"acme","seq":7,"action":"key.revoked","kid":"k"}}`,
			webhookID, at.UTC().Format(time.RFC3339Nano))
		jws := strings.Split(platform.Sign("1", map[string]any{"typ": typ}, body), ".")
		r := httptest.NewRequest("POST", "/keyward", strings.NewReader(string(body)))
		r.Header.Set("Keyward-Signature", jws[0]+".."+jws[2])
		w := httptest.NewRecorder()
		rc.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	send(rc.webhookID, time.Now(), "keyward-webhook+jws")
	send(rc.webhookID, time.Now(), "keyward-webhook+jws")                           // a repetition
	send(rc.webhookID, time.Now().Add(-time.Hour), "keyward-webhook+jws")           // sent again by somebody who has kept it
	send("0198c2f4-0000-7c7a-9d0b-3f6d2f6f2a11", time.Now(), "keyward-webhook+jws") // another webhook's
	send(rc.webhookID, time.Now(), "JWT")
	// Output:
	// acme 7 key.revoked k
	// 204
	// 204
	// 401
	// 401
	// 401
}

// The receiver of docs/webhooks.md refuses what differs from a genuine delivery in one
// thing that it has to check.
func TestDocumentedReceiverRefusesForgeries(t *testing.T) {
	platform, stranger := jwkstest.New("https://keys.example.com", jose.ES256), jwkstest.New("https://keys.example.com", jose.ES256)
	client, err := jwks.New(jwks.Config{URL: platform.JWKSURL(), HTTPClient: platform.Client()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const mine, typ = "0198c2f4-7d1e-7c7a-9d0b-3f6d2f6f2a11", "keyward-webhook+jws"
	rc := &receiver{webhookID: mine, keys: client, handled: map[string]bool{}}
	body := func(members string) []byte {
		return []byte(`{"id":"1",` + members + `"event":{"tenant":"acme","seq":7}}`)
	}
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }
	sign := func(by *jwkstest.Issuer, headers map[string]any, body []byte) string {
		parts := strings.Split(by.Sign("1", headers, body), ".")
		return parts[0] + ".." + parts[2]
	}
	genuine := body(`"webhook_id":"` + mine + `","sent_at":"` + at(0) + `",`)
	signed := sign(platform, map[string]any{"typ": typ}, genuine)
	if _, err := rc.verify(t.Context(), signed, genuine); err != nil {
		t.Fatalf("a genuine delivery: %v", err)
	}
	type forgery struct {
		signature string
		body      []byte
	}
	forgeries := map[string]forgery{
		"another body":        {signed, []byte(strings.Replace(string(genuine), "acme", "evil", 1))},
		"another space":       {signed, append([]byte(" "), genuine...)},
		"a stranger's key":    {sign(stranger, map[string]any{"typ": typ}, genuine), genuine},
		"signed for a token":  {sign(platform, map[string]any{"typ": "JWT"}, genuine), genuine},
		"signed for nothing":  {sign(platform, nil, genuine), genuine},
		"without a signature": {"", genuine},
		"an empty signature":  {signed[:strings.LastIndex(signed, ".")+1], genuine},
		"alg none":            {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"1","typ":"`+typ+`"}`)) + "..", genuine},
	}
	for name, members := range map[string]string{
		"for another webhook": `"webhook_id":"0198c2f4-0000-7c7a-9d0b-3f6d2f6f2a11","sent_at":"` + at(0) + `",`,
		"for no webhook":      `"sent_at":"` + at(0) + `",`,
		"an hour old":         `"webhook_id":"` + mine + `","sent_at":"` + at(-time.Hour) + `",`,
		"of the future":       `"webhook_id":"` + mine + `","sent_at":"` + at(time.Hour) + `",`,
		"without a time":      `"webhook_id":"` + mine + `",`,
		"with a time of none": `"webhook_id":"` + mine + `","sent_at":"soon",`,
	} {
		forged := body(members)
		forgeries[name] = forgery{sign(platform, map[string]any{"typ": typ}, forged), forged}
	}
	for name, f := range forgeries {
		if d, err := rc.verify(t.Context(), f.signature, f.body); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// The code in docs/webhooks.md is the code that runs above.
func TestDocumentShowsTheExample(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(source), "// begin of docs/webhooks.md\n")
	code, _, _ = strings.Cut(code, "// end of docs/webhooks.md\n")
	if !strings.Contains(string(document), "```go\n"+strings.TrimSpace(code)+"\n```") {
		t.Error("docs/webhooks.md shows other code than example_test.go")
	}
}
