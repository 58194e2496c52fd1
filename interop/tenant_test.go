package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// audience is whom all tokens are for.
const audience = "interop"

type object = map[string]any

// tenant is a tenant of its own for one test.
type tenant struct {
	slug   string
	issuer string
	jwks   string // URL of its JWKS
}

// token is a signed JWT and the key that signed it.
type token struct {
	Token string `json:"token"`
	JWS   string `json:"jws"`
	KID   string `json:"kid"`
	Alg   string `json:"alg"`
}

type key struct {
	KID   string `json:"kid"`
	State string `json:"state"`
}

var tenants atomic.Int64

// newTenant makes a tenant; body is what POST /v1/tenants takes beside a slug.
func newTenant(t *testing.T, body object) *tenant {
	t.Helper()
	body["slug"] = fmt.Sprintf("interop-%d", tenants.Add(1))
	tn := answer[struct{ Slug, Issuer string }](t, "POST", "/v1/tenants", body)
	return &tenant{slug: tn.Slug, issuer: tn.Issuer, jwks: keyward.url + "/t/" + tn.Slug + "/.well-known/jwks.json"}
}

func (tn *tenant) token(t *testing.T, alg string) token {
	t.Helper()
	return answer[token](t, "POST", tn.path("/tokens"), object{"alg": alg, "claims": object{"sub": "alice", "aud": audience}})
}

// lasting is a JWT with the longest lifetime that policies of inSeconds allow.
func (tn *tenant) lasting(t *testing.T, alg string) token {
	t.Helper()
	claims, err := json.Marshal(object{"iss": tn.issuer, "sub": "alice", "aud": audience, "exp": time.Now().Unix() + longest})
	if err != nil {
		t.Fatal(err)
	}
	payload := base64.RawURLEncoding.EncodeToString(claims)
	signed := answer[token](t, "POST", tn.path("/sign"), object{"alg": alg, "typ": "JWT", "payload": payload})
	signed.Token = signed.JWS
	return signed
}

func (tn *tenant) rotate(ctx context.Context, alg string) error {
	_, err := call[object](ctx, "POST", tn.path("/keys/rotate"), object{"alg": alg})
	return err
}

// published lists the kids in the JWKS, as any client sees them.
func (tn *tenant) published(t *testing.T) (kids []string) {
	t.Helper()
	set := answer[struct{ Keys []key }](t, "GET", strings.TrimPrefix(tn.jwks, keyward.url), nil)
	for _, k := range set.Keys {
		kids = append(kids, k.KID)
	}
	return kids
}

func (tn *tenant) path(rest string) string { return "/v1/tenants/" + tn.slug + rest }

// answer is what the admin API says, which must be a success.
func answer[T any](t *testing.T, method, path string, body any) T {
	t.Helper()
	v, err := call[T](t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// call is answer for other goroutines than the test's. A nil body is none. After a
// 503 it asks again, as the same request, since the change may have been made: the
// machine may be busy.
func call[T any](ctx context.Context, method, path string, body any) (v T, err error) {
	var sent []byte
	if body != nil {
		if sent, err = json.Marshal(body); err != nil {
			return v, err
		}
	}
	once := rand.Text()
	for begun := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		status, got, err := ask(ctx, method, path, sent, once)
		switch {
		case err != nil:
			return v, err
		case status < 300:
			return v, json.Unmarshal(got, &v)
		case status != http.StatusServiceUnavailable || time.Since(begun) > patience:
			return v, fmt.Errorf("%s %s: %d: %s", method, path, status, got)
		}
	}
}

func ask(ctx context.Context, method, path string, body []byte, once string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, keyward.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+keyward.adminKey)
	req.Header.Set("Content-Type", "application/json")
	if method != http.MethodGet && !strings.HasSuffix(path, "/tokens") && !strings.HasSuffix(path, "/sign") {
		req.Header.Set("Idempotency-Key", once) // a signature can be made twice
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// eventually asks again and again until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v it is still not so: %s", patience, what)
		case <-t.Context().Done():
			t.FailNow()
		}
	}
}

// pem is a key's public half.
func (tn *tenant) pem(t *testing.T, kid string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", keyward.url+tn.path("/keys/"+kid), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+keyward.adminKey)
	req.Header.Set("Accept", "application/x-pem-file")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the PEM of %s: %s, %v", kid, resp.Status, err)
	}
	return text
}
