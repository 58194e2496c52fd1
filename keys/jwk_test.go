package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestThumbprintOfTheRFCs(t *testing.T) {
	for want, jwk := range map[string]struct {
		alg jose.SignatureAlgorithm
		raw string
	}{
		// RFC 7638 section 3.1
		"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": {jose.RS256, `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`},
		// RFC 8037 appendix A.3
		"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": {jose.EdDSA, `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`},
	} {
		pub, err := ParsePublicJWK(jwk.alg, []byte(jwk.raw))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Thumbprint(pub); got != want || err != nil {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

func TestPublicJWK(t *testing.T) {
	for _, alg := range Algorithms() {
		pub := keyFor(t, alg).Public()
		kid, err := Thumbprint(pub)
		if err != nil || !ValidKID(kid) {
			t.Fatalf("%s: kid %q, %v", alg, kid, err)
		}
		jwk, err := PublicJWK(pub, alg, kid)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := PublicJWK(pub, alg, kid); string(again) != string(jwk) {
			t.Errorf("%s: not the same bytes twice", alg)
		}
		var parsed jose.JSONWebKey
		if err := parsed.UnmarshalJSON(jwk); err != nil || parsed.KeyID != kid || parsed.Use != "sig" || parsed.Algorithm != string(alg) {
			t.Errorf("%s: go-jose reads %+v, %v", alg, parsed, err)
		}
		back, err := ParsePublicJWK(alg, jwk)
		if same, ok := pub.(interface{ Equal(crypto.PublicKey) bool }); err != nil || !ok || !same.Equal(back) {
			t.Errorf("%s: read back as %v, %v", alg, back, err)
		}
		onlyPublicMembers(t, jwk)
	}
}

func onlyPublicMembers(t *testing.T, jwk []byte) {
	t.Helper()
	var members map[string]string
	if err := json.Unmarshal(jwk, &members); err != nil {
		t.Fatal(err)
	}
	for name := range members {
		if !slices.Contains([]string{"kty", "kid", "use", "alg", "crv", "x", "y", "n", "e", "pub"}, name) {
			t.Errorf("%s has %q", members["alg"], name)
		}
	}
}

func TestShortCoordinateIsPadded(t *testing.T) {
	for range 20000 {
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, _ := key.PublicKey.Bytes()
		if point[1] != 0 || point[2] != 0 { // the first byte holds one bit only
			continue
		}
		jwk, err := PublicJWK(&key.PublicKey, jose.ES512, "k")
		if err != nil {
			t.Fatal(err)
		}
		var m struct{ X, Y string }
		_ = json.Unmarshal(jwk, &m)
		x, _ := base64.RawURLEncoding.DecodeString(m.X)
		y, _ := base64.RawURLEncoding.DecodeString(m.Y)
		if len(x) != 66 || len(y) != 66 {
			t.Errorf("coordinates of %d and %d bytes, RFC 7518 section 6.2.1.2 wants 66", len(x), len(y))
		}
		return
	}
	t.Fatal("no short coordinate in 20000 keys")
}

func TestKeysThatDoNotFit(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalPKCS8PrivateKey(small)
	if _, err := ParsePKCS8(jose.RS256, der); !errors.Is(err, ErrKeyMaterial) {
		t.Errorf("RSA 1024: %v", err)
	}
	for _, alg := range Algorithms() {
		for _, other := range Algorithms() {
			p := keyFor(t, other)
			a, _ := lookupAlgorithm(alg)
			b, _ := lookupAlgorithm(other)
			fits := a.kty == b.kty && a.crv == b.crv && (a.kty != "AKP" || alg == other)
			if SharesKeys(alg, other) != fits {
				t.Errorf("%s and %s share keys: %v", alg, other, !fits)
			}
			if _, err := NewPrivate(alg, p.key()); (err == nil) != fits {
				t.Errorf("%s with a key for %s: %v", alg, other, err)
			}
			if _, err := PublicJWK(p.Public(), alg, "k"); (err == nil) != fits {
				t.Errorf("JWK of %s with a key for %s: %v", alg, other, err)
			}
		}
	}
	for _, jwk := range []string{
		``, `{}`, `{"kty":"oct","k":"AAAA"}`,
		`{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`,
		`{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
	} {
		for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA} {
			if pub, err := ParsePublicJWK(alg, []byte(jwk)); !errors.Is(err, ErrKeyMaterial) || pub != nil {
				t.Errorf("%s: %v, %v", jwk, pub, err)
			}
		}
	}
}

func TestPublicPEM(t *testing.T) {
	for _, alg := range Algorithms() {
		pub := keyFor(t, alg).Public()
		text, err := PublicPEM(pub)
		if err != nil {
			t.Fatal(err)
		}
		block, rest := pem.Decode(text)
		if block == nil || block.Type != "PUBLIC KEY" || len(rest) != 0 {
			t.Fatalf("%s: %s", alg, text)
		}
		if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			t.Error(err)
		}
	}
	if _, err := PublicPEM("nothing"); !errors.Is(err, ErrKeyMaterial) {
		t.Error(err)
	}
}

func TestValidKID(t *testing.T) {
	for kid, want := range map[string]bool{
		"a": true, "A-z_0.~": true, "..": true, "-": true, strings.Repeat("k", 256): true, "RId+oQm2IhmkUI1wTQUBPQm7jXY=": true,
		"a/b": true, "a b": true, "é": true, "%2F?#;\"\\": true, "urn:x:\u2028": true, "public:1": true,
		"": false, "a\n": false, "\x00": false, "\x7f": false, "\u0085": false, "\xff": false, strings.Repeat("k", 257): false, strings.Repeat("é", 129): false,
	} {
		if ValidKID(kid) != want {
			t.Errorf("ValidKID(%q) = %v", kid, !want)
		}
	}
}

// What Keyward writes of a public key is known again without parsing it, and
// nothing else is taken for it: a member more would be published.
func TestAPublicJWKIsKnownByItsText(t *testing.T) {
	for _, a := range algorithms {
		private, err := Generate(a.name, MinRSABits)
		if err != nil {
			t.Fatal(err)
		}
		written, err := PublicJWK(private.Public(), a.name, "k-1")
		if err != nil {
			t.Fatal(err)
		}
		jwk := string(written)
		if !a.isRendered("k-1", written) {
			t.Errorf("%s is not known again", jwk)
		}
		closed := strings.TrimSuffix(jwk, "}")
		for _, other := range []string{
			closed + `,"d":"AQAB"}`, closed, closed + `} `, " " + jwk, jwk + "{}",
			strings.Replace(jwk, `"sig"`, `"enc"`, 1), strings.Replace(jwk, `"k-1"`, `"k-2"`, 1),
			strings.Replace(jwk, `"use"`, `"d":"AQAB","use"`, 1), strings.TrimSuffix(jwk, `"}`) + `=="}`,
			strings.Replace(jwk, `"alg":"`+string(a.name), `"alg":"HS256`, 1), "", "{}",
		} {
			if a.isRendered("k-1", []byte(other)) {
				t.Errorf("%s is taken for %s", other, jwk)
			}
		}
		if short := jwk[:len(jwk)-4] + `"}`; a.kty != "RSA" && a.isRendered("k-1", []byte(short)) {
			t.Errorf("%s is taken for a key of %s", short, a.name)
		}
	}
}
