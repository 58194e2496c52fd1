package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
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
	forms := map[string]string{"PKCS#8": pemOf(pemPKCS8, must(x509.MarshalPKCS8PrivateKey(key))), "JWK": jwk}
	public := string(must(PublicPEM(key.Public())))
	switch k := key.(type) {
	case *rsa.PrivateKey:
		forms["PKCS#1"] = pemOf(pemPKCS1, x509.MarshalPKCS1PrivateKey(k))
		forms["PKCS#1 with half"] = forms["PKCS#1"] + pemOf(pemPublicPKCS1, x509.MarshalPKCS1PublicKey(&k.PublicKey))
	case *ecdsa.PrivateKey:
		forms["SEC 1"] = pemOf(pemSEC1, must(x509.MarshalECPrivateKey(k)))
		forms["SEC 1 after its curve"] = pemOf(pemCurve, []byte{6, 1, 1}) + forms["SEC 1"]
	}
	forms["with text around"] = "Bag Attributes\r\n    friendlyName: x\r\n" + strings.ReplaceAll(forms["PKCS#8"], "\n", "\r\n") + "\r\nend"
	forms["with half"] = public + forms["PKCS#8"]
	return forms
}

func TestEveryFormOfAPrivateKeyIsRead(t *testing.T) {
	for _, alg := range Algorithms() {
		key := keyFor(t, alg).key()
		for form, text := range written(key) {
			b, err := parsePrivateKey([]byte(text))
			if err != nil {
				t.Fatalf("%s as %s: %v", alg, form, err)
			}
			c, err := PrivateImport{Key: []byte(text), Alg: alg}.candidate()
			if err != nil || !EqualPublic(b.public, key.Public()) || c.origin != Imported || !c.private.Matches() {
				t.Errorf("%s as %s: %v", alg, form, err)
			}
			if want, _ := Thumbprint(key.Public()); c.kid != want {
				t.Errorf("%s as %s: kid %s", alg, form, c.kid)
			}
		}
	}
}

func TestEveryFormOfAPublicKeyIsRead(t *testing.T) {
	expires := time.Now().Add(time.Hour)
	for _, alg := range Algorithms() {
		pub := keyFor(t, alg).Public()
		forms := map[string]string{
			"SPKI": string(must(PublicPEM(pub))), "JWK": string(must(json.Marshal(jose.JSONWebKey{Key: pub}))),
			"JWK Set": `{"keys":[` + string(must(PublicJWK(pub, alg, "its-own"))) + `]}`,
		}
		if k, is := pub.(*rsa.PublicKey); is {
			forms["PKCS#1"] = pemOf(pemPublicPKCS1, x509.MarshalPKCS1PublicKey(k))
		}
		for form, text := range forms {
			cs, set, err := PublicImport{Key: []byte(text), Alg: alg, ExpiresAt: expires}.candidates()
			if err != nil || len(cs) != 1 || set != (form == "JWK Set") {
				t.Fatalf("%s as %s: %v", alg, form, err)
			}
			back, err := ParsePublicJWK(alg, cs[0].jwk)
			if err != nil || !EqualPublic(back, pub) || !cs[0].private.IsZero() || (cs[0].kid == "its-own") != set {
				t.Errorf("%s as %s: %v %s", alg, form, err, cs[0].jwk)
			}
		}
	}
}

// The kid asked for, else the JWK's own; one that cannot be kept gives way to
// the thumbprint, since a private key signs new tokens.
func TestNameOfAnImportedKey(t *testing.T) {
	key := keyFor(t, jose.ES256)
	for _, c := range []struct{ asked, own, want string }{
		{"asked", "own", "asked"}, {"", "own", "own"}, {"", "public:a/b", must(Thumbprint(key.Public()))}, {"", "", must(Thumbprint(key.Public()))},
	} {
		jwk := edit(written(key.key())["JWK"], map[string]any{"kid": c.own})
		got, err := PrivateImport{Key: []byte(jwk), Alg: jose.ES256, KID: c.asked}.candidate()
		if err != nil || got.kid != c.want {
			t.Errorf("%+v: %s, %v", c, got.kid, err)
		}
	}
}

// Of a set, what is for signatures enters; the request's alg is for those that
// say none.
func TestKeysOfASet(t *testing.T) {
	ec, rs := keyFor(t, jose.ES384), keyFor(t, jose.RS256)
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader)).PublicKey().Bytes()
	set := `{"keys":[` + strings.Join([]string{
		edit(string(must(PublicJWK(rs.Public(), jose.RS256, "enc"))), map[string]any{"use": "enc", "alg": nil}),
		edit(string(must(PublicJWK(rs.Public(), jose.RS256, "oaep"))), map[string]any{"use": nil, "alg": "RSA-OAEP-256"}),
		`{"kty":"OKP","crv":"X25519","x":"` + b64(x25519) + `"}`,
		edit(string(must(PublicJWK(rs.Public(), jose.RS256, "bare"))), map[string]any{"use": nil, "alg": nil, "x5t": "abc"}),
		edit(string(must(PublicJWK(rs.Public(), jose.RS256, "own"))), map[string]any{"key_ops": []string{"verify"}, "alg": "PS512"}),
		edit(string(must(PublicJWK(ec.Public(), jose.ES384, "curve"))), map[string]any{"alg": nil}),
	}, ",") + `]}`
	if _, _, err := (PublicImport{Key: []byte(set)}).candidates(); err == nil {
		t.Error("an RSA key without alg")
	}
	cs, _, err := PublicImport{Key: []byte(set), Alg: jose.RS384}.candidates()
	if err != nil || len(cs) != 3 {
		t.Fatalf("%v, %d keys", err, len(cs))
	}
	for i, want := range []candidate{{kid: "bare", alg: jose.RS384}, {kid: "own", alg: jose.PS512}, {kid: "curve", alg: jose.ES384}} {
		if cs[i].kid != want.kid || cs[i].alg != want.alg {
			t.Errorf("%s %s, want %s %s", cs[i].kid, cs[i].alg, want.kid, want.alg)
		}
	}
}

func TestROCA(t *testing.T) {
	m := big.NewInt(1)
	for _, p := range rocaPrimes {
		m.Mul(m, big.NewInt(p))
	}
	// n = 65537^a mod m, plus a multiple of m, is what the broken library makes of p times q.
	n := new(big.Int).Exp(big.NewInt(minExponent), big.NewInt(4711), m)
	n.Add(n, new(big.Int).Mul(m, new(big.Int).Lsh(big.NewInt(1), 2048-uint(m.BitLen()))))
	for n.Bit(0) == 0 || n.BitLen() < 2048 || residue(n, 3) == 0 || residue(n, 5) == 0 || residue(n, 7) == 0 {
		n.Add(n, m)
	}
	err := strongRSA(fieldPublic, n, big.NewInt(65537))
	if err == nil || !strings.Contains(err.Error(), "ROCA") {
		t.Errorf("a key with the fingerprint: %v", err)
	}
	if k, is := keyFor(t, jose.RS256).Public().(*rsa.PublicKey); !is || roca(k.N) {
		t.Error("a sound key has the fingerprint")
	}
	if err := strongRSA(fieldPublic, new(big.Int).Mul(n, big.NewInt(3)), big.NewInt(65537)); err == nil || !strings.Contains(err.Error(), "small factor") {
		t.Error(err)
	}
	if err := strongRSA(fieldPublic, new(big.Int).Lsh(n, maxRSABits), big.NewInt(65537)); err == nil || !strings.Contains(err.Error(), "more than 8192") {
		t.Error(err)
	}
}

// A compressed point, a v2 PKCS#8 with its public key, coordinates without
// their leading zeros: unusual, and right.
func TestUnusualForms(t *testing.T) {
	ec := keyFor(t, jose.ES256).key().(*ecdsa.PrivateKey)
	var inner sec1
	_, _ = asn1.Unmarshal(must(x509.MarshalECPrivateKey(ec)), &inner)
	full := inner.PublicKey.Bytes
	point := append([]byte{2 + full[64]&1}, full[1:33]...)
	inner.PublicKey = asn1.BitString{Bytes: point, BitLength: 8 * len(point)}
	for _, flip := range []byte{0, 1} {
		point[0] ^= flip
		_, err := parsePrivateKey([]byte(pemOf(pemSEC1, must(asn1.Marshal(inner)))))
		if (err == nil) != (flip == 0) {
			t.Errorf("compressed point: %v", err)
		}
	}
	ed := keyFor(t, jose.EdDSA).key().(ed25519.PrivateKey)
	var outer pkcs8
	_, _ = asn1.Unmarshal(must(x509.MarshalPKCS8PrivateKey(ed)), &outer)
	half := bytes.Clone(ed.Public().(ed25519.PublicKey))
	v2 := struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
		PublicKey  asn1.BitString `asn1:"tag:1"`
	}{1, outer.Algorithm, outer.PrivateKey, asn1.BitString{Bytes: half, BitLength: 256}}
	for _, flip := range []byte{0, 1} {
		half[0] ^= flip
		_, err := parsePrivateKey([]byte(pemOf(pemPKCS8, must(asn1.Marshal(v2)))))
		if (err == nil) != (flip == 0) {
			t.Errorf("PKCS#8 v2: %v", err)
		}
	}
	for {
		short := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		m := must(members(short.Public()))
		x := must(short.PublicKey.Bytes())[1:33]
		if x[0] != 0 {
			continue
		}
		jwk := edit(written(short)["JWK"], map[string]any{"x": b64(x[1:])})
		if b, err := parsePrivateKey([]byte(jwk)); err != nil || !EqualPublic(b.public, short.Public()) {
			t.Errorf("%s: %v", m.X, err)
		}
		return
	}
}
