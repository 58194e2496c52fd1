package httpapi

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"testing"
	"time"
)

// Tokens of systems that write no iss verify when any issuer will do, and callers narrow
// what they accept.
func TestVerifyForeignTokens(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	_, key, err := ed25519.GenerateKey(rand.Reader)
	f := newForeign(t, key, err)
	w.do("POST", importPath, w.root, body(map[string]string{"public_key": with(f.public(t), "kid", "k", "alg", "EdDSA"), "expires_at": in(time.Hour)})).ok(201)
	sign := func(claims string) string {
		b64 := base64.RawURLEncoding.EncodeToString
		input := b64([]byte(`{"alg":"EdDSA","kid":"k"}`)) + "." + b64([]byte(claims))
		return input + "." + b64(ed25519.Sign(key, []byte(input)))
	}
	exp := time.Now().Add(48 * time.Hour).Unix()
	token := sign(fmt.Sprintf(`{"sub":"a","jti":null,"exp":%d}`, exp))
	for _, c := range []struct{ token, more, want string }{
		{token, ``, "wrong_issuer"},
		{token, `,"any_issuer":true`, ""},
		{token, `,"any_issuer":true,"algorithms":["EdDSA"],"required_claims":["sub","exp"]`, ""},
		{token, `,"any_issuer":true,"algorithms":["ES256"]`, "algorithm_not_allowed"},
		{token, `,"any_issuer":true,"required_claims":["sid"]`, "malformed"},
		{token, `,"any_issuer":true,"required_claims":["jti"]`, "malformed"},
		{sign(fmt.Sprintf(`{"exp":%d}`, 1000*exp)), `,"any_issuer":true`, "malformed"},
	} {
		var v VerifyTokenResult
		w.do("POST", "/v1/tenants/acme/tokens/verify", w.root, fmt.Sprintf(`{"token":%q%s}`, c.token, c.more)).ok(200, &v)
		if got := string(valueOr(v.Code, "")); got != c.want {
			t.Errorf("%s: %q, want %q", c.more, got, c.want)
		}
	}
	w.do("POST", "/v1/tenants/acme/tokens/verify", w.root, `{"token":"x","any_issuer":true,"issuer":"y"}`).problem(ProblemCodeInvalidRequest)
}
