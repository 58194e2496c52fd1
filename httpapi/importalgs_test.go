package httpapi

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/jwks"
)

// signedByOld returns a token of another system, without iss.
func signedByOld(t testing.TB, key *rsa.PrivateKey, alg jose.SignatureAlgorithm, kid string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(fmt.Sprintf(`{"exp":%d}`, time.Now().Add(time.Hour).Unix())))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// verifyOld returns the code of a token of another system; empty: it is valid.
func (w *world) verifyOld(token string) VerifyCode {
	w.t.Helper()
	var v VerifyTokenResult
	w.do("POST", "/v1/tenants/acme/tokens/verify", w.root, fmt.Sprintf(`{"token":%q,"any_issuer":true}`, token)).ok(200, &v)
	return valueOr(v.Code, "")
}

// publishedPairs returns "kid alg" of each JWK of acme's set.
func (w *world) publishedPairs() (all []string) {
	w.t.Helper()
	var set struct {
		Keys []struct{ KID, Alg string }
	}
	if err := json.Unmarshal(w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200).body, &set); err != nil {
		w.t.Fatal(err)
	}
	for _, k := range set.Keys {
		all = append(all, k.KID+" "+k.Alg)
	}
	return all
}

// One key that its old issuer published under one kid for several algorithms verifies
// tokens of each of them, everywhere.
func TestImportKeyForSeveralAlgorithms(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	const kid = `RId+oQm2 "use":"sig","alg":"RS256"/7nY=` // hostile to the rendering of the set
	var texts []string
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.RS512, jose.PS384, jose.RS512} {
		text, err := (&jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: string(alg), Use: "sig"}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	request := body(map[string]string{"public_key": `{"keys":[` + strings.Join(texts, ",") + `]}`, "expires_at": in(time.Hour)})
	var list KeyList
	w.do("POST", importPath, w.root, request).ok(201, &list)
	want := []Alg{"RS256", "RS512", "PS384"}
	if len(list.Items) != 1 || !slices.Equal(list.Items[0].Algs, want) || list.Items[0].Alg != "RS256" {
		t.Fatalf("%+v", list)
	}
	var one Key
	path := "/v1/tenants/acme/keys/" + url.PathEscape(kid)
	if w.do("GET", path, w.root, "").ok(200, &one); !slices.Equal(one.Algs, want) {
		t.Errorf("%+v", one)
	}
	for alg, n := range map[string]int{"RS256": 1, "PS384": 1, "RS384": 0} {
		var some KeyList
		if w.do("GET", "/v1/tenants/acme/keys?alg="+alg, w.root, "").ok(200, &some); len(some.Items) != n {
			t.Errorf("%s: %+v", alg, some)
		}
	}
	w.checkSeveral(key, kid)

	var settings Policy // of another algorithm: its set is rendered anew
	w.do("PUT", "/v1/tenants/acme/policies/RS512", w.root, `{"alg":"RS512"}`).ok(201, &settings)
	w.checkSeveral(key, kid)
	if slices.Contains(w.publishedPairs(), kid+" RS384") {
		t.Error("an algorithm that the key was not imported for")
	}
	var sign SignedToken
	if w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{},"alg":"RS512"}`).ok(200, &sign); sign.KID == kid {
		t.Error("a public key signs")
	}
	var feed JWKSFeed
	w.do("GET", "/v1/jwks-feed", w.root, "").ok(200, &feed)
	served := w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200).body
	at := slices.IndexFunc(feed.Items, func(i FeedItem) bool { return i.Tenant == "acme" })
	if at < 0 || !bytes.Equal(feed.Items[at].JWKS, served) {
		t.Errorf("the feed has another set than the one served:\n%s\n%s", feed.Items[at].JWKS, served)
	}
	past := payloadOf(t, string(w.do("GET", "/t/acme/.well-known/jwks-history", "", "").ok(200).body))
	if n := strings.Count(past, `"alg":"PS384"`); n != 1 {
		t.Errorf("the history has it %d times for PS384: %s", n, past)
	}

	w.do("POST", path+"/revoke", w.root, `{"reason":"compromised"}`).ok(200)
	w.snapshots.Missed()
	for _, alg := range want {
		if code := w.verifyOld(signedByOld(t, key, jose.SignatureAlgorithm(alg), kid)); code != VerifyCodeKeyRevoked {
			t.Errorf("%s after the revocation: %s", alg, code)
		}
	}
	if set := w.publishedPairs(); slices.ContainsFunc(set, func(k string) bool { return strings.HasPrefix(k, kid) }) {
		t.Errorf("%q", set)
	}
}

// checkSeveral checks the key of TestImportKeyForSeveralAlgorithms.
func (w *world) checkSeveral(key *rsa.PrivateKey, kid string) {
	w.t.Helper()
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.RS512, jose.PS384} {
		if code := w.verifyOld(signedByOld(w.t, key, alg, kid)); code != "" {
			w.t.Errorf("%s: %s", alg, code)
		}
		verifier, err := jwks.New(jwks.Config{URL: w.url + "/t/acme/.well-known/jwks.json", AllowHTTP: true})
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := verifier.VerifySignature(w.t.Context(), signedByOld(w.t, key, alg, kid)); err != nil {
			w.t.Errorf("package jwks: %s: %v", alg, err)
		}
		verifier.Close()
		if set := w.publishedPairs(); !slices.Contains(set, kid+" "+string(alg)) {
			w.t.Errorf("%s is not published: %q", alg, set)
		}
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.RS384, jose.PS256, jose.PS512} {
		if code := w.verifyOld(signedByOld(w.t, key, alg, kid)); code != VerifyCodeAlgorithmNotAllowed {
			w.t.Errorf("%s: %q", alg, code)
		}
	}
}

// A private key too: it signs with its policy's algorithm, and its earlier tokens verify.
func TestImportPrivateKeyForSeveralAlgorithms(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	for _, alg := range []string{"RS256", "RS384"} {
		w.do("PUT", "/v1/tenants/acme/policies/"+alg, w.root, `{"alg":"`+alg+`"}`).ok(201)
	}
	key := newRSA(t)
	private := key.signer.(*rsa.PrivateKey)
	var k Key
	request := fmt.Sprintf(`{"private_key":%q,"alg":"RS256","algs":["RS384","RS256"],"kid":"old","role":"active"}`, key.pem)
	if w.do("POST", importPath, w.root, request).ok(201, &k); !slices.Equal(k.Algs, []Alg{"RS256", "RS384"}) {
		t.Errorf("%+v", k)
	}
	for alg, want := range map[jose.SignatureAlgorithm]VerifyCode{jose.RS256: "", jose.RS384: "", jose.RS512: VerifyCodeAlgorithmNotAllowed} {
		if code := w.verifyOld(signedByOld(t, private, alg, "old")); code != want {
			t.Errorf("%s: %q", alg, code)
		}
		var signed SignedToken
		if want != "" {
			continue
		}
		if w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{},"alg":"`+string(alg)+`"}`).ok(200, &signed); (signed.KID == "old") != (alg == jose.RS256) {
			t.Errorf("%s is signed with %s", alg, signed.KID)
		}
	}
	ec := foreignEC(t)
	set := `{"keys":[` + with(ec.public(t), "kid", "s") + `]}`
	for name, c := range map[string]struct{ request, field string }{
		"of another type":  {body(map[string]string{"private_key": ec.pem, "alg": "ES256"}), "algs"},
		"beside a JWK Set": {body(map[string]string{"public_key": set, "expires_at": in(time.Hour)}), "algs"},
	} {
		request := strings.TrimSuffix(c.request, "}") + `,"algs":["RS256"]}`
		p := w.do("POST", importPath, w.root, request).problem(ProblemCodeInvalidRequest)
		if len(p.Errors) == 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// payloadOf returns the payload of a compact JWS, unverified.
func payloadOf(t testing.TB, jws string) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}
