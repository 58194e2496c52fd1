package moves

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/keystest"
)

func pemOf(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// written is a private key in every form that is read.
func written(key crypto.Signer) map[string]string {
	jwk := string(must((&jose.JSONWebKey{Key: key}).MarshalJSON()))
	forms := map[string]string{"PKCS#8": pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))), "JWK": jwk}
	public := string(must(keys.PublicPEM(key.Public())))
	switch k := key.(type) {
	case *rsa.PrivateKey:
		forms["PKCS#1"] = pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k))
		forms["PKCS#1 with half"] = forms["PKCS#1"] + pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&k.PublicKey))
	case *ecdsa.PrivateKey:
		forms["SEC 1"] = pemOf("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(k)))
		forms["SEC 1 after its curve"] = pemOf("EC PARAMETERS", []byte{6, 1, 1}) + forms["SEC 1"]
	}
	forms["with text around"] = "Bag Attributes\r\n    friendlyName: x\r\n" + strings.ReplaceAll(forms["PKCS#8"], "\n", "\r\n") + "\r\nend"
	forms["with half"] = public + forms["PKCS#8"]
	return forms
}

func TestEveryFormOfAPrivateKeyIsRead(t *testing.T) {
	for _, alg := range keys.Algorithms() {
		key := keystest.Signer(keystest.PrivateKey(t, alg))
		for form, text := range written(key) {
			b, err := keyfile.ParsePrivate([]byte(text))
			if err != nil {
				t.Fatalf("%s as %s: %v", alg, form, err)
			}
			c, err := PrivateImport{Key: []byte(text), Alg: alg}.parseCandidate()
			if err != nil || !keys.EqualPublic(b.Public, key.Public()) || c.origin != keys.Imported || !c.private.Matches() {
				t.Errorf("%s as %s: %v", alg, form, err)
			}
			if want, _ := keys.Thumbprint(key.Public()); c.kid != want {
				t.Errorf("%s as %s: kid %s", alg, form, c.kid)
			}
		}
	}
}

func TestEveryFormOfAPublicKeyIsRead(t *testing.T) {
	expires := time.Now().Add(time.Hour)
	for _, alg := range keys.Algorithms() {
		pub := keystest.PrivateKey(t, alg).Public()
		forms := map[string]string{
			"SPKI": string(must(keys.PublicPEM(pub))), "JWK": string(must(json.Marshal(jose.JSONWebKey{Key: pub}))),
			"JWK Set": `{"keys":[` + string(must(keys.PublicJWK(pub, alg, "its-own"))) + `]}`,
		}
		if k, is := pub.(*rsa.PublicKey); is {
			forms["PKCS#1"] = pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(k))
		}
		for form, text := range forms {
			cs, set, err := PublicImport{Key: []byte(text), Alg: alg, ExpiresAt: expires}.parseCandidates()
			if err != nil || len(cs) != 1 || set.IsSet != (form == "JWK Set") {
				t.Fatalf("%s as %s: %v", alg, form, err)
			}
			back, err := keys.ParsePublicJWK(alg, cs[0].jwk)
			if err != nil || !keys.EqualPublic(back, pub) || !cs[0].private.IsZero() || (cs[0].kid == "its-own") != set.IsSet {
				t.Errorf("%s as %s: %v %s", alg, form, err, cs[0].jwk)
			}
		}
	}
}

// The kid asked for, else the JWK's own, else the thumbprint.
func TestNameOfAnImportedKey(t *testing.T) {
	key := keystest.PrivateKey(t, jose.ES256)
	for _, c := range []struct{ asked, own, want string }{
		{"asked", "own", "asked"}, {"", "own", "own"}, {"", "public:a/b", "public:a/b"}, {"", "", must(keys.Thumbprint(key.Public()))},
	} {
		jwk := edit(written(keystest.Signer(key))["JWK"], map[string]any{"kid": c.own})
		got, err := PrivateImport{Key: []byte(jwk), Alg: jose.ES256, KID: c.asked}.parseCandidate()
		if err != nil || got.kid != c.want {
			t.Errorf("%+v: %s, %v", c, got.kid, err)
		}
	}
}

// Of a set, what is for signatures enters; the request's alg is for those that
// say none.
func TestKeysOfASet(t *testing.T) {
	ec, rs := keystest.PrivateKey(t, jose.ES384), keystest.PrivateKey(t, jose.RS256)
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader)).PublicKey().Bytes()
	set := `{"keys":[` + strings.Join([]string{
		edit(string(must(keys.PublicJWK(rs.Public(), jose.RS256, "enc"))), map[string]any{"use": "enc", "alg": nil}),
		edit(string(must(keys.PublicJWK(rs.Public(), jose.RS256, "oaep"))), map[string]any{"use": nil, "alg": "RSA-OAEP-256"}),
		`{"kty":"OKP","crv":"X25519","x":"` + keystest.Base64(x25519) + `"}`,
		edit(string(must(keys.PublicJWK(rs.Public(), jose.RS256, "bare"))), map[string]any{"use": nil, "alg": nil, "x5t": "abc"}),
		edit(string(must(keys.PublicJWK(rs.Public(), jose.RS256, "own"))), map[string]any{"key_ops": []string{"verify"}, "alg": "PS512"}),
		edit(string(must(keys.PublicJWK(ec.Public(), jose.ES384, "curve"))), map[string]any{"alg": nil}),
	}, ",") + `]}`
	if cs, without, err := (PublicImport{Key: []byte(set)}).parseCandidates(); err != nil || len(cs) != 2 || !without.Skipped[len(without.Skipped)-1].Refused {
		t.Errorf("an RSA key without alg: %v, %+v", err, without.Skipped)
	}
	cs, _, err := PublicImport{Key: []byte(set), Alg: jose.RS384}.parseCandidates()
	if err != nil || len(cs) != 3 {
		t.Fatalf("%v, %d keys", err, len(cs))
	}
	for i, want := range []candidate{{kid: "bare", alg: jose.RS384}, {kid: "own", alg: jose.PS512}, {kid: "curve", alg: jose.ES384}} {
		if cs[i].kid != want.kid || cs[i].alg != want.alg {
			t.Errorf("%s %s, want %s %s", cs[i].kid, cs[i].alg, want.kid, want.alg)
		}
	}
}
