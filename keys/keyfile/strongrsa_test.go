package keyfile

import (
	"bytes"
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

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keystest"
)

func TestROCA(t *testing.T) {
	m := big.NewInt(1)
	for _, p := range rocaPrimes {
		m.Mul(m, big.NewInt(p))
	}
	// n = 65537^a mod m, plus a multiple of m, is what the broken library makes of p times q.
	n := new(big.Int).Exp(big.NewInt(minExponent), big.NewInt(4711), m)
	n.Add(n, new(big.Int).Mul(m, new(big.Int).Lsh(big.NewInt(1), 2048-uint(m.BitLen()))))
	for n.Bit(0) == 0 || n.BitLen() < 2048 || remainder(n, 3) == 0 || remainder(n, 5) == 0 || remainder(n, 7) == 0 {
		n.Add(n, m)
	}
	err := strongRSA(FieldPublic, n, big.NewInt(65537))
	if err == nil || !strings.Contains(err.Error(), "ROCA") {
		t.Errorf("a key with the fingerprint: %v", err)
	}
	if k, is := keystest.PrivateKey(t, jose.RS256).Public().(*rsa.PublicKey); !is || hasROCAFingerprint(k.N) {
		t.Error("a sound key has the fingerprint")
	}
	if err := strongRSA(FieldPublic, new(big.Int).Mul(n, big.NewInt(3)), big.NewInt(65537)); err == nil || !strings.Contains(err.Error(), "small factor") {
		t.Error(err)
	}
	if err := strongRSA(FieldPublic, new(big.Int).Lsh(n, 4096), big.NewInt(65537)); err == nil || !strings.Contains(err.Error(), "more than 4096") {
		t.Error(err)
	}
}

// A compressed point, a v2 PKCS#8 with its public key, coordinates without
// their leading zeros: unusual, and right.
func TestUnusualForms(t *testing.T) {
	ec := keystest.Signer(keystest.PrivateKey(t, jose.ES256)).(*ecdsa.PrivateKey)
	var inner sec1
	_, _ = asn1.Unmarshal(keystest.Must(x509.MarshalECPrivateKey(ec)), &inner)
	full := inner.PublicKey.Bytes
	point := append([]byte{2 + full[64]&1}, full[1:33]...)
	inner.PublicKey = asn1.BitString{Bytes: point, BitLength: 8 * len(point)}
	for _, flip := range []byte{0, 1} {
		point[0] ^= flip
		_, err := ParsePrivate([]byte(pemOf(pemSEC1, keystest.Must(asn1.Marshal(inner)))))
		if (err == nil) != (flip == 0) {
			t.Errorf("compressed point: %v", err)
		}
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512} {
		key := keystest.Signer(keystest.PrivateKey(t, alg)).(*ecdsa.PrivateKey)
		var spki struct {
			Algorithm pkix.AlgorithmIdentifier
			Bits      asn1.BitString
		}
		_, _ = asn1.Unmarshal(keystest.Must(x509.MarshalPKIXPublicKey(&key.PublicKey)), &spki)
		full := spki.Bits.Bytes
		point := append([]byte{2 + full[len(full)-1]&1}, full[1:1+len(full)/2]...)
		spki.Bits = asn1.BitString{Bytes: point, BitLength: 8 * len(point)}
		for _, flip := range []byte{0, 1} {
			point[0] ^= flip
			set, err := ParsePublic([]byte(pemOf(pemPublic, keystest.Must(asn1.Marshal(spki)))))
			if err != nil || keys.EqualPublic(set.Keys[0].Public, &key.PublicKey) != (flip == 0) {
				t.Errorf("compressed point of a public key: %v", err)
			}
		}
	}
	ed := keystest.Signer(keystest.PrivateKey(t, jose.EdDSA)).(ed25519.PrivateKey)
	var outer pkcs8
	_, _ = asn1.Unmarshal(keystest.Must(x509.MarshalPKCS8PrivateKey(ed)), &outer)
	half := bytes.Clone(ed.Public().(ed25519.PublicKey))
	v2 := struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
		PublicKey  asn1.BitString `asn1:"tag:1"`
	}{1, outer.Algorithm, outer.PrivateKey, asn1.BitString{Bytes: half, BitLength: 256}}
	for _, flip := range []byte{0, 1} {
		half[0] ^= flip
		_, err := ParsePrivate([]byte(pemOf(pemPKCS8, keystest.Must(asn1.Marshal(v2)))))
		if (err == nil) != (flip == 0) {
			t.Errorf("PKCS#8 v2: %v", err)
		}
	}
	for {
		short := keystest.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		x := keystest.Must(short.PublicKey.Bytes())[1:33]
		if x[0] != 0 {
			continue
		}
		jwk := withX(short, keystest.Base64(x[1:]))
		if b, err := ParsePrivate([]byte(jwk)); err != nil || !keys.EqualPublic(b.Public, short.Public()) {
			t.Errorf("%x: %v", x, err)
		}
		return
	}
}

func pemOf(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

// withX is a private key as a JWK that has another x.
func withX(key *ecdsa.PrivateKey, x string) string {
	all := map[string]any{}
	_ = json.Unmarshal(keystest.Must((&jose.JSONWebKey{Key: key}).MarshalJSON()), &all)
	all["x"] = x
	return string(keystest.Must(json.Marshal(all)))
}
