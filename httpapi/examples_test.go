package httpapi

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// Every example of a request does what it says, where there is what it is about.
func TestWalkExamples(t *testing.T) {
	w := newWorld(t)
	n := 0
	for _, e := range w.errands() {
		for _, body := range e.bodies(t) {
			if n++; strings.Contains(body, "the text of key.pem") {
				body = strings.Replace(body, "the text of key.pem", keyFile(t), 1)
			}
			e.things = w.things(e, fmt.Sprintf("example-%d", n))
			a := w.do(e.method, e.url(), w.root, body)
			if a.StatusCode > 299 {
				t.Errorf("%s %s: %d %s", e.OperationID, body, a.StatusCode, a.body)
			}
			if e.OperationID == "createTenant" { // the next example has the same name
				w.do("DELETE", a.Header.Get("Location"), w.root, "").ok(204)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d examples", n)
	}
}

// things makes a tenant with a policy for RSA, and one of whatever the path names.
func (w *world) things(e errand, slug string) map[string]string {
	w.t.Helper()
	w.tenant(slug)
	w.do("PUT", "/v1/tenants/"+slug+"/policies/RS256", w.root, "{}").ok(201)
	things := map[string]string{"tenant": slug, "alg": "ES256", "kid": w.keys(slug, KeyStateActive)[0].KID}
	if list, _, named := strings.Cut(strings.Replace(e.path, "{tenant}", slug, 1), "/{id}"); named && strings.HasSuffix(list, "/webhooks") {
		var made Webhook
		w.do("POST", list, w.root, `{"url":"https://127.0.0.1/hook"}`).ok(201, &made)
		things["id"] = made.ID.String()
	}
	if strings.Contains(e.path, "/approvals/{id}") {
		things["id"] = w.waiting(slug).ID.String()
	}
	return things
}

// waiting is an approval that somebody else asked for.
func (w *world) waiting(slug string) (a Approval) {
	w.t.Helper()
	w.do("PATCH", "/v1/tenants/"+slug, w.root, `{"approval_required":["purge"]}`).ok(200)
	w.do("POST", "/v1/tenants/"+slug+"/keys/purge", w.key(tenant.PlatformAdmin, nil), "").ok(202, &a)
	return a
}

// keyFile is an RSA key as a member of JSON.
func keyFile(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return strings.ReplaceAll(string(text), "\n", `\n`)
}
