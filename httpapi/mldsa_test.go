package httpapi

import (
	"crypto"
	"crypto/mldsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
)

// A tenant signs with ES256 and ML-DSA at once (RFC 9964). A verifier that knows
// ES256 alone is not disturbed, one that knows both accepts both.
func TestMLDSABesideES256(t *testing.T) {
	for alg, size := range map[Alg]int{"ML-DSA-44": 2420, "ML-DSA-65": 3309, "ML-DSA-87": 4627} {
		t.Run(string(alg), func(t *testing.T) {
			w := newWorld(t)
			w.do("POST", "/v1/tenants", w.root, fmt.Sprintf(`{"slug":"acme","policies":[{"alg":"ES256","default":true},{"alg":%q}]}`, alg)).ok(201)
			var set struct{ Keys []map[string]string }
			w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200, &set)
			count := map[Alg]int{}
			for _, k := range set.Keys {
				if count[Alg(k["alg"])]++; (k["kty"] == "AKP") != (k["alg"] == string(alg)) || (k["pub"] != "") != (k["alg"] == string(alg)) || k["priv"] != "" {
					t.Errorf("%+v", k)
				}
			}
			if count["ES256"] != 2 || count[alg] != 2 {
				t.Errorf("%v", count)
			}
			modern, old := w.verifying(jose.ES256, jose.SignatureAlgorithm(alg)), w.verifying(jose.ES256)
			for range 2 {
				classic := w.sign("acme", `{"claims":{"sub":"a"}}`)
				post := w.sign("acme", fmt.Sprintf(`{"claims":{"sub":"a"},"alg":%q}`, alg))
				if classic.Alg != "ES256" || post.Alg != alg || len(post.Token) < size*4/3 {
					t.Errorf("%s, %s, %d bytes", classic.Alg, post.Alg, len(post.Token))
				}
				for _, token := range []string{classic.Token, post.Token} {
					if v := w.judge("acme", token); !v.Valid {
						t.Errorf("%+v", v)
					}
					if _, err := modern.Verify(t.Context(), token); err != nil {
						t.Error(err)
					}
				}
				if _, err := old.Verify(t.Context(), classic.Token); err != nil {
					t.Error(err)
				}
				if _, err := old.Verify(t.Context(), post.Token); err == nil {
					t.Error("an algorithm that was not asked for is accepted")
				}
				forged := post.Token[:len(post.Token)-8] + strings.Repeat("A", 8)
				if v := w.judge("acme", forged); v.Valid || *v.Code != "bad_signature" {
					t.Errorf("%+v", v)
				}
				w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, fmt.Sprintf(`{"alg":%q}`, alg)).ok(200)
			}
			w.do("GET", "/t/acme/.well-known/jwks-history", "", "").ok(200)
		})
	}
}

// verifying returns a verifier of acme's tokens by package jwks.
func (w *world) verifying(algs ...jose.SignatureAlgorithm) *jwks.Verifier {
	w.t.Helper()
	keys, err := jwks.New(jwks.Config{
		Issuer: testPublicURL + "/t/acme", HTTPClient: &http.Client{Transport: detour{w.url}}, Now: w.clock.now, UnknownKidsPerMinute: -1, Cooldown: 1,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(keys.Close)
	v, err := jwks.NewVerifier(jwks.VerifierConfig{Client: keys, Issuer: testPublicURL + "/t/acme", AnyAudience: true, Algorithms: algs, Now: w.clock.now})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// A key of another system comes in as a JWK with its seed or as PKCS#8, keeps its
// kid or gets its thumbprint, and what is published of it is what it was.
func TestImportMLDSA(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tenants", w.root, `{"slug":"acme","policies":[{"alg":"ML-DSA-65","default":true}]}`).ok(201)
	for _, form := range []string{"JWK", "PKCS#8"} {
		key, err := mldsa.GenerateKey(mldsa.MLDSA65())
		f := newForeign(t, key, err)
		request := map[string]string{"private_key": f.jwk, "alg": "ML-DSA-65", "role": "active"}
		if form == "PKCS#8" {
			request["private_key"], request["kid"] = f.pem, "moved"
		}
		var k Key
		w.do("POST", importPath, w.root, body(request)).ok(201, &k)
		if thumbprint, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256); form == "JWK" && (err != nil || k.KID != encodeBase64(thumbprint)) {
			t.Errorf("%s, want the thumbprint %s, %v", k.KID, encodeBase64(thumbprint), err)
		}
		var jwk map[string]string
		if err := json.Unmarshal(*k.PublicJWK, &jwk); err != nil || k.Kty != "AKP" || jwk["pub"] != encodeBase64(key.PublicKey().Bytes()) {
			t.Errorf("%s: %+v", form, k)
		}
		signed := w.sign("acme", `{"claims":{}}`)
		jws, err := jose.ParseSignedCompact(signed.Token, []jose.SignatureAlgorithm{jose.MLDSA65})
		if err != nil || signed.KID != k.KID {
			t.Fatalf("%v, by %s", err, signed.KID)
		}
		if _, err := jws.Verify(key.Public()); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		a := w.do("GET", "/v1/tenants/acme/keys/"+k.KID, w.root, "", "Accept", "application/x-pem-file").ok(200)
		block, _ := pem.Decode(a.body)
		if block == nil {
			t.Fatalf("%s", a.body)
		}
		if pub, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil || !key.PublicKey().Equal(pub) {
			t.Errorf("%v, %v", pub, err)
		}
	}
	w.do("POST", importPath, w.root, body(map[string]string{"private_key": foreignEC(t).pem, "alg": "ML-DSA-65"})).problem(ProblemCodeInvalidRequest)
}

func encodeBase64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// A dry run of a policy says which sizes others may refuse.
func TestMLDSADryRunWarnsOfSizes(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	const path = "/v1/tenants/acme/policies/"
	for alg, says := range map[Alg][]string{
		"ML-DSA-44": {"3.3 kB", "RFC 9964"}, "ML-DSA-65": {"4.5 kB", "RFC 9964"}, "ML-DSA-87": {"6.3 kB", "RFC 9964", "Nimbus"}, "ES256": nil, "RS256": nil,
	} {
		var would PolicyPreview
		w.unchanged("PUT", path+string(alg)+"?dry_run=true", `{}`, &would)
		told := strings.Join(would.Warnings, "\n")
		for _, words := range says {
			if !strings.Contains(told, words) {
				t.Errorf("%s: %q does not say %s", alg, told, words)
			}
		}
		if len(would.Warnings) != len(says) {
			t.Errorf("%s: %q", alg, told)
		}
	}
	var would PolicyPreview
	if w.unchanged("PUT", path+"ML-DSA-87?dry_run=true", `{"max_published_keys":12}`, &would); len(would.Warnings) != 2 {
		t.Errorf("%q", would.Warnings)
	}
}
