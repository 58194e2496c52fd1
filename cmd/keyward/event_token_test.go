package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// readEventToken verifies a token with nothing but the standards (RFC 7515, 7518, 8417)
// and the JWK Set at the issuer, and returns its claims.
func readEventToken(t *testing.T, token string, set string) (claims struct {
	Iss, Jti, Aud string
	Iat, Toe      int64
	Exp           *int64
	SubID         struct{ Format, Iss, Sub string } `json:"sub_id"`
	Events        map[string]map[string]any
},
) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", token)
	}
	decode := func(text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var header struct{ Typ, Alg, KID string }
	var keys struct {
		Keys []struct{ KID, X, Y string }
	}
	for _, err := range []error{json.Unmarshal(decode(parts[0]), &header), json.Unmarshal([]byte(set), &keys), json.Unmarshal(decode(parts[1]), &claims)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if header.Typ != "secevent+jwt" || header.Alg != "ES256" {
		t.Fatalf("%+v", header)
	}
	signature, sum := decode(parts[2]), sha256.Sum256([]byte(parts[0]+"."+parts[1]))
	for _, k := range keys.Keys {
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, decode(k.X), decode(k.Y)))
		if err != nil {
			t.Fatal(err)
		}
		if k.KID == header.KID && ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			return claims
		}
	}
	t.Fatal("no key of the issuer verifies it")
	return claims
}

// A receiver gets what happened to keys and tenant as tokens, the same jti again after a
// refusal, and never who did it.
func TestWebhookOfEventTokens(t *testing.T) {
	type push struct{ contentType, body string }
	pushes := make(chan push, 100)
	refuse := true
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		pushes <- push{r.Header.Get("Content-Type"), string(body)}
		if r.Header.Get("Keyward-Signature") != "" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("%v", r.Header)
		}
		if refuse {
			refuse = false
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer receiver.Close()
	env := deployed(t)
	env["KEYWARD_WEBHOOK_ALLOW"] = "127.0.0.0/8"
	_, a := startService(t, env)
	a.do("POST", "/v1/tenants", `{"slug":"acme"}`)
	made := a.do("POST", "/v1/tenants/acme/webhooks", `{"url":"`+receiver.URL+`/secret-path","format":"set"}`)
	if !strings.Contains(made, `"format":"set"`) || !strings.Contains(made, `"key.*"`) {
		t.Error(made)
	}
	var key struct{ Revoked struct{ Kid string } }
	answer := a.do("POST", "/v1/tenants/acme/keys/revoke", `{"reason":"compromised","comment":"found in a log","mode":"standby"}`)
	if err := json.Unmarshal([]byte(answer), &key); err != nil {
		t.Fatal(err)
	}
	a.do("PATCH", "/v1/tenants/acme", `{"status":"suspended"}`)
	set := a.do("GET", "/.well-known/jwks.json", "")
	seen, ids := map[string]string{}, map[string]int{}
	twice := 0
	for seen["tenant.suspended"] == "" || seen["key.revoked"] == "" || twice == 0 {
		p := <-pushes
		claims := readEventToken(t, p.body, set)
		if p.contentType != "application/secevent+jwt" || claims.Aud != receiver.URL || claims.Iss != a.url+"/t/platform" || claims.Exp != nil || len(claims.Events) != 1 ||
			claims.SubID.Format != "iss_sub" || claims.SubID.Iss != a.url+"/t/acme" {
			t.Errorf("%s: %+v", p.contentType, claims)
		}
		if ids[claims.Jti]++; ids[claims.Jti] == 2 {
			twice++
		}
		for kind, e := range claims.Events {
			action := e["action"].(string)
			seen[action] = kind
			if action == "key.revoked" && (kind != "https://schemas.openid.net/secevent/caep/event-type/credential-change" || e["change_type"] != "revoke" || e["reason"] != "compromised" || e["kid"] != claims.SubID.Sub) {
				t.Errorf("%s: %v", kind, e)
			}
			if action == "tenant.suspended" && (kind != claims.Iss+"/events/tenant.suspended" || claims.SubID.Sub != "acme") {
				t.Errorf("%s: %v", kind, e)
			}
		}
		if raw := string(jwtPayload(t, p.body)); strings.Contains(raw, "found in a log") || strings.Contains(raw, "secret-path") || strings.Contains(raw, "actor") {
			t.Errorf("it says too much: %s", raw)
		}
	}
	if twice != 1 {
		t.Errorf("%d tokens came more than once: %v", twice, ids)
	}
}

func jwtPayload(t *testing.T, token string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return b
}
