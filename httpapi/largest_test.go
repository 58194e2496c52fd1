package httpapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
)

// The largest keys that are accepted sign, verify, are published and read: here, by
// go-jose and by package jwks. The limit of RSA keys is go-jose's.
func TestLargestKeys(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	big4096, err := rsa.GenerateKey(rand.Reader, jose.MaxRSAModulusBits)
	large := newForeign(t, big4096, err)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	curve := newForeign(t, p521, err)
	pq, err := mldsa.GenerateKey(mldsa.MLDSA87())
	quantum := newForeign(t, pq, err)
	kid := strings.Repeat("k", 255)
	for i, c := range []struct {
		alg jose.SignatureAlgorithm
		key foreign
	}{{jose.RS512, large}, {jose.PS512, large}, {jose.ES512, curve}, {jose.MLDSA87, quantum}} {
		w.do("PUT", "/v1/tenants/acme/policies/"+string(c.alg), w.root, `{"alg":"`+string(c.alg)+`"}`).ok(201)
		name := fmt.Sprint(kid, i) // 256 bytes
		for _, form := range []string{c.key.pem, c.key.jwk} {
			request := body(map[string]string{"private_key": form, "alg": string(c.alg), "kid": name, "role": "active"})
			w.do("POST", importPath+"?dry_run=true", w.root, request).ok(200)
		}
		w.do("POST", importPath, w.root, body(map[string]string{"private_key": c.key.pem, "alg": string(c.alg), "kid": name, "role": "active"})).ok(201)
		var signed SignedToken
		w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{"sub":"alice"},"alg":"`+string(c.alg)+`"}`).ok(200, &signed)
		if signed.KID != name {
			t.Errorf("%s: signed with %.10s…", c.alg, signed.KID)
		}
		w.verdict(signed.Token, "")
		jws, err := jose.ParseSignedCompact(signed.Token, []jose.SignatureAlgorithm{c.alg})
		if err == nil {
			_, err = jws.Verify(c.key.signer.Public())
		}
		if err != nil {
			t.Errorf("%s: %v", c.alg, err)
		}
		verifier, err := jwks.New(jwks.Config{URL: w.url + "/t/acme/.well-known/jwks.json", AllowHTTP: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifier.VerifySignature(t.Context(), signed.Token); err != nil {
			t.Errorf("%s: package jwks: %v", c.alg, err)
		}
		verifier.Close()
	}
	var set jose.JSONWebKeySet // all of it, with the largest keys
	if err := json.Unmarshal(w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200).body, &set); err != nil || len(set.Keys) < 8 {
		t.Errorf("%d keys, %v", len(set.Keys), err)
	}
	w.do("GET", "/t/"+acme.Slug+"/.well-known/jwks-history", "", "").ok(200)

	beyond := new(big.Int).SetBit(new(big.Int).Lsh(big4096.N, 1), 0, 1) // 4097 bits, odd
	jwk := fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB","kid":"beyond","alg":"RS256"}`, base64.RawURLEncoding.EncodeToString(beyond.Bytes()))
	p := w.do("POST", importPath, w.root, body(map[string]string{"public_key": jwk, "expires_at": in(time.Hour)})).problem(ProblemCodeInvalidRequest)
	if len(p.Errors) == 0 || !strings.Contains(fmt.Sprint(p.Errors), "4096") {
		t.Errorf("4097 bits: %+v", p)
	}
}
