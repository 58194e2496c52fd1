package keys

import (
	"crypto/mldsa"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// The examples of RFC 9964 appendix A: the seed gives the public key, whose
// thumbprint is the kid, and the signature verifies; one over anything else does not.
func TestExamplesOfRFC9964(t *testing.T) {
	var examples []struct {
		JWK struct{ KID, Alg, Pub, Priv string }
		JWS string
	}
	text, err := os.ReadFile("testdata/rfc9964.json")
	if err == nil {
		err = json.Unmarshal(text, &examples)
	}
	if err != nil || len(examples) != 3 {
		t.Fatal(len(examples), err)
	}
	for _, e := range examples {
		alg := jose.SignatureAlgorithm(e.JWK.Alg)
		params, ok := MLDSA(alg)
		seed, err := base64.RawURLEncoding.DecodeString(e.JWK.Priv)
		if err != nil || !ok {
			t.Fatal(alg, err)
		}
		key, err := mldsa.NewPrivateKey(params, seed)
		if err != nil {
			t.Fatal(err)
		}
		private, err := NewPrivate(alg, key)
		if err != nil {
			t.Fatal(err)
		}
		if kid, err := Thumbprint(private.Public()); kid != e.JWK.KID || err != nil {
			t.Errorf("%s: thumbprint %s, %v, want %s", alg, kid, err, e.JWK.KID)
		}
		jwk, err := PublicJWK(private.Public(), alg, e.JWK.KID)
		if want := `{"kty":"AKP","kid":"` + e.JWK.KID + `","use":"sig","alg":"` + e.JWK.Alg + `","pub":"` + e.JWK.Pub + `"}`; string(jwk) != want || err != nil {
			t.Errorf("%s: %s, %v", alg, jwk, err)
		}
		at := strings.LastIndexByte(e.JWS, '.')
		input := []byte(e.JWS[:at])
		signature, err := base64.RawURLEncoding.DecodeString(e.JWS[at+1:])
		if err != nil || !VerifySignature(private.Public(), alg, input, signature) {
			t.Errorf("%s: the signature does not verify: %v", alg, err)
		}
		input[0]++
		if VerifySignature(private.Public(), alg, input, signature) {
			t.Errorf("%s: a signature over something else verifies", alg)
		}
	}
}

// ML-DSA signatures are hedged (FIPS 204 section 3.4): two over one input differ,
// both verify, and none is taken for one of another length or algorithm.
func TestMLDSASignatures(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.MLDSA44, jose.MLDSA65, jose.MLDSA87} {
		p := keyFor(t, alg)
		one, err := p.Sign([]byte("the same"))
		two, worse := p.Sign([]byte("the same"))
		if err != nil || worse != nil || string(one) == string(two) || len(one) != p.SignatureSize() {
			t.Errorf("%s: %d bytes, %v %v", alg, len(one), err, worse)
		}
		for _, signature := range [][]byte{one, two} {
			if !VerifySignature(p.Public(), alg, []byte("the same"), signature) {
				t.Errorf("%s: refused", alg)
			}
		}
		for _, bad := range [][]byte{nil, one[1:], append(one[:len(one):len(one)], 0), make([]byte, len(one))} {
			if VerifySignature(p.Public(), alg, []byte("the same"), bad) {
				t.Errorf("%s: %d bytes verify", alg, len(bad))
			}
		}
		for _, other := range Algorithms() {
			if other != alg && VerifySignature(p.Public(), other, []byte("the same"), one) {
				t.Errorf("%s verifies as %s", alg, other)
			}
		}
		context, err := p.key().Sign(nil, []byte("the same"), &mldsa.Options{Context: "x"})
		if err != nil || VerifySignature(p.Public(), alg, []byte("the same"), context) {
			t.Errorf("%s: a signature with a context verifies: %v", alg, err)
		}
	}
}
