package moves

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keystest"
)

// Keys that Keyward has no use for do not keep the others of their set out, and are
// named; members that say nothing do not count.
func TestSetWithStrangers(t *testing.T) {
	ec, rs := keystest.PrivateKey(t, jose.ES256), keystest.PrivateKey(t, jose.RS256)
	good := string(must(keys.PublicJWK(ec.Public(), jose.ES256, "good")))
	strangers := map[string]string{
		"oct":       `{"kty":"oct","k":"AAAA","kid":"oct"}`,
		"secp256k1": `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA","alg":"ES256K","kid":"secp256k1"}`,
		"unknown":   `{"kty":"XYZ","kid":"unknown"}`,
		"ed448":     `{"kty":"OKP","crv":"Ed448","x":"AA","kid":"ed448"}`,
		"enc":       edit(string(must(keys.PublicJWK(rs.Public(), jose.RS256, "enc"))), map[string]any{"use": "enc", "alg": nil}),
		"small":     edit(string(must(keys.PublicJWK(rs.Public(), jose.RS256, "small"))), map[string]any{"n": keystest.Base64(append([]byte{0x81}, make([]byte, 127)...))}),
		"large":     edit(string(must(keys.PublicJWK(rs.Public(), jose.RS256, "large"))), map[string]any{"n": keystest.Base64(append([]byte{0x81}, make([]byte, 1023)...))}),
	}
	for kid, stranger := range strangers {
		cs, set, err := PublicImport{Key: []byte(`{"keys":[` + stranger + `,` + good + `]}`)}.parseCandidates()
		if err != nil || len(cs) != 1 || cs[0].kid != "good" || len(set.Skipped) != 1 || set.Skipped[0].KID != kid || set.Skipped[0].Reason == "" {
			t.Errorf("%s: %v %+v", kid, err, set.Skipped)
		}
	}
	silent := edit(string(must(keys.PublicJWK(rs.Public(), jose.RS256, "net"))), map[string]any{"key_ops": []string{}, "oth": []string{}, "x5c": []string{}, "x5t": nil})
	for _, text := range []string{silent, "\ufeff" + silent, edit(silent, map[string]any{"kty": "RSA-HSM"}), `{"keys":[` + silent + `,` + silent + `]}`} {
		cs, set, err := PublicImport{Key: []byte(text)}.parseCandidates()
		if err != nil || len(cs) != 1 || cs[0].kid != "net" || len(set.Skipped) > 0 {
			t.Errorf("%.40q: %v %+v", text, err, set.Skipped)
		}
	}
}

// RSASSA-PSS keys come in for the algorithms of PSS, and for no others.
func TestRSAPSSKeys(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	oid := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	type id struct{ Algorithm asn1.ObjectIdentifier }
	private := must(asn1.Marshal(struct {
		Version int
		ID      id
		Key     []byte
	}{0, id{oid}, x509.MarshalPKCS1PrivateKey(key)}))
	public := must(asn1.Marshal(struct {
		ID   id
		Bits asn1.BitString
	}{id{oid}, asn1.BitString{Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey), BitLength: 8 * len(x509.MarshalPKCS1PublicKey(&key.PublicKey))}}))
	text := func(label string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
	}
	for alg, fits := range map[jose.SignatureAlgorithm]bool{jose.PS256: true, jose.PS384: true, jose.PS512: true, jose.RS256: false, jose.RS512: false} {
		if _, err := (PrivateImport{Key: text("PRIVATE KEY", private), Alg: alg}).parseCandidate(); (err == nil) != fits {
			t.Errorf("private, %s: %v", alg, err)
		}
		if _, _, err := (PublicImport{Key: text("PUBLIC KEY", public), Alg: alg}).parseCandidates(); (err == nil) != fits {
			t.Errorf("public, %s: %v", alg, err)
		}
	}
}

// Every way to lay out PEM that users send is read.
func TestPEMLayouts(t *testing.T) {
	plain := written(keystest.Signer(keystest.PrivateKey(t, jose.ES256)))["PKCS#8"]
	for _, text := range []string{
		"\ufeff" + plain, strings.ReplaceAll(plain, "\n", "\r\n"), strings.ReplaceAll(plain, "\n", " "), strings.ReplaceAll(plain, "\n", ""),
		"  " + strings.ReplaceAll(plain, "\n", "\n  "), fmt.Sprintf("key: |\n\t%s", strings.ReplaceAll(plain, "\n", "\n\t")),
	} {
		if _, err := (PrivateImport{Key: []byte(text), Alg: jose.ES256}).parseCandidate(); err != nil {
			t.Errorf("%.50q: %v", text, err)
		}
	}
}

// The largest RSA key comes in and signs; one bit more is refused.
func TestLargestRSAKey(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, jose.MaxRSAModulusBits))
	der := x509.MarshalPKCS1PrivateKey(key)
	c, err := PrivateImport{Key: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der}), Alg: jose.RS256}.parseCandidate()
	if err != nil || !c.private.Matches() {
		t.Fatal(err)
	}
	if _, err := keys.ParsePublicJWK(jose.RS256, c.jwk); err != nil {
		t.Errorf("it cannot be read again: %v", err)
	}
	n := make([]byte, jose.MaxRSAModulusBits/8+1)
	n[0], n[len(n)-1] = 1, 1
	jwk := edit(string(c.jwk), map[string]any{"n": keystest.Base64(n)})
	if _, _, err := (PublicImport{Key: []byte(jwk)}).parseCandidates(); err == nil || !strings.Contains(err.Error(), "4097 bits") {
		t.Errorf("4097 bits: %v", err)
	}
}
