package moves

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/keystest"
	"github.com/keyward/keyward/keys/tokens"
)

// edit changes members of a JWK; nil takes one out.
func edit(jwk string, members map[string]any) string {
	all := map[string]any{}
	_ = json.Unmarshal([]byte(jwk), &all)
	for name, v := range members {
		if all[name] = v; v == nil {
			delete(all, name)
		}
	}
	return string(must(json.Marshal(all)))
}

// refusal is material and a word that its refusal has to say.
type refusedKey struct {
	name, text string
	alg        jose.SignatureAlgorithm
	field, say string
}

func refusedPrivateKeys(t testing.TB) []refusedKey {
	t.Helper()
	ec, ok := keystest.Signer(keystest.PrivateKey(t, jose.ES256)).(*ecdsa.PrivateKey)
	if !ok {
		t.Fatal("no EC key")
	}
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rs := keystest.Signer(keystest.PrivateKey(t, jose.RS256)).(*rsa.PrivateKey)
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	ecPEM, ecJWK, rsJWK, edJWK := written(ec)["PKCS#8"], written(ec)["JWK"], written(rs)["JWK"], written(keystest.Signer(keystest.PrivateKey(t, jose.EdDSA)))["JWK"]
	pq := keystest.Signer(keystest.PrivateKey(t, jose.MLDSA44))
	pqJWK := written(pq)["JWK"]
	otherJWK := written(other)["JWK"]
	var o struct{ X, Y, D string }
	_ = json.Unmarshal([]byte(otherJWK), &o)
	legacy := pem.EncodeToMemory(&pem.Block{
		Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,A1B2"}, Bytes: []byte("ciphertext"),
	})
	tiny, even := *rs, *rs
	tiny.E, even.E = 3, 65538
	return []refusedKey{
		{"nothing", "", jose.ES256, keyfile.FieldPrivate, "neither PEM"},
		{"words", "hunter2-hunter2", jose.ES256, keyfile.FieldPrivate, "neither PEM"},
		{"encrypted PKCS#8", pemOf("ENCRYPTED PRIVATE KEY", []byte("secret")), jose.ES256, keyfile.FieldPrivate, "openssl pkey"},
		{"encrypted as of old", string(legacy), jose.ES256, keyfile.FieldPrivate, "openssl pkey"},
		{"certificate", pemOf("CERTIFICATE", certificate(t, ec)), jose.ES256, keyfile.FieldPrivate, "openssl x509"},
		{"key and certificate", ecPEM + pemOf("CERTIFICATE", certificate(t, ec)), jose.ES256, keyfile.FieldPrivate, "openssl x509"},
		{"certificate request", pemOf("CERTIFICATE REQUEST", []byte("x")), jose.ES256, keyfile.FieldPrivate, "openssl req"},
		{"OpenSSH", pemOf("OPENSSH PRIVATE KEY", []byte("x")), jose.ES256, keyfile.FieldPrivate, "ssh-keygen"},
		{"unknown type", pemOf("PGP PRIVATE KEY BLOCK", []byte("x")), jose.ES256, keyfile.FieldPrivate, "PEM block of a type"},
		{"two keys", ecPEM + written(other)["SEC 1"], jose.ES256, keyfile.FieldPrivate, "several keys"},
		{"another's half", ecPEM + string(must(keys.PublicPEM(other.Public()))), jose.ES256, keyfile.FieldPrivate, "not its own"},
		{"public only", string(must(keys.PublicPEM(ec.Public()))), jose.ES256, keyfile.FieldPrivate, "public_key"},
		{"only a curve", pemOf("EC PARAMETERS", []byte{6, 1, 1}), jose.ES256, keyfile.FieldPrivate, "holds no key"},
		{"cut off", ecPEM[:len(ecPEM)/2], jose.ES256, keyfile.FieldPrivate, "END line"},
		{"rubbish", pemOf("PRIVATE KEY", []byte("rubbish")), jose.ES256, keyfile.FieldPrivate, "cannot be read"},
		{"rubbish PKCS#1", pemOf("RSA PRIVATE KEY", []byte("rubbish")), jose.RS256, keyfile.FieldPrivate, "cannot be read"},
		{"rubbish SEC 1", pemOf("EC PRIVATE KEY", []byte("rubbish")), jose.ES256, keyfile.FieldPrivate, "cannot be read"},
		{"wrong label", pemOf("RSA PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ec))), jose.ES256, keyfile.FieldPrivate, "cannot be read"},
		{"bytes behind", pemOf("PRIVATE KEY", append(must(x509.MarshalPKCS8PrivateKey(ec)), 0)), jose.ES256, keyfile.FieldPrivate, "cannot be read"},
		{"SEC 1 with another's point", pemOf("EC PRIVATE KEY", otherPoint(ec, other)), jose.ES256, keyfile.FieldPrivate, "not its own"},
		{"P-224", pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(p224))), jose.ES256, keyfile.FieldPrivate, "EC key on P-224"},
		{"wrong curve", ecPEM, jose.ES384, keyfile.FieldPrivate, "signs with an EC key on P-384"},
		{"EC for RSA", ecPEM, jose.RS256, keyfile.FieldPrivate, "signs with an RSA key"},
		{"RSA for EdDSA", written(rs)["PKCS#8"], jose.EdDSA, keyfile.FieldPrivate, "signs with an Ed25519 key"},
		{"X25519", pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(x25519))), jose.EdDSA, keyfile.FieldPrivate, "cannot sign"},
		{"RSA 1024", written(small)["PKCS#8"], jose.RS256, keyfile.FieldPrivate, "2048 are the least"},
		{"RSA 1024 PKCS#1", written(small)["PKCS#1"], jose.RS256, keyfile.FieldPrivate, "2048 are the least"},
		{"RSA 1024 JWK", written(small)["JWK"], jose.RS256, keyfile.FieldPrivate, "2048 are the least"},
		{"RSA e=3", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(&tiny)), jose.RS256, keyfile.FieldPrivate, "exponent below 65537"},
		{"RSA e even", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(&even)), jose.RS256, keyfile.FieldPrivate, "even"},
		{"RSA e of another", edit(rsJWK, map[string]any{"e": "AQAD"}), jose.RS256, keyfile.FieldPrivate, "contradict"},
		{"RSA e huge", edit(rsJWK, map[string]any{"e": "AQAAAAE"}), jose.RS256, keyfile.FieldPrivate, "2147483647"},
		{"RSA n of another", edit(rsJWK, map[string]any{"n": string(must(PublicJWKMember(must(rsa.GenerateKey(rand.Reader, 2048)))))}), jose.RS256, keyfile.FieldPrivate, "contradict"},
		{"RSA dp of another", edit(rsJWK, map[string]any{"dp": "AQAB"}), jose.RS256, keyfile.FieldPrivate, "dp, dq or qi"},
		{"RSA without p", edit(rsJWK, map[string]any{"p": nil}), jose.RS256, "private_key.p", "required"},
		{"RSA of three primes", edit(rsJWK, map[string]any{"oth": []any{map[string]any{"r": "AQ"}}}), jose.RS256, "private_key.oth", "two primes"},
		{"oct", `{"kty":"oct","k":"aHVudGVyMi1odW50ZXIy","alg":"HS256"}`, jose.ES256, "private_key.kty", "shared secret"},
		{"public JWK", string(must(json.Marshal(jose.JSONWebKey{Key: ec.Public()}))), jose.ES256, keyfile.FieldPrivate, "public_key"},
		{"JWK Set", `{"keys":[` + ecJWK + `]}`, jose.ES256, keyfile.FieldPrivate, "JWK Set"},
		{"JWK for encryption", edit(ecJWK, map[string]any{"use": "enc"}), jose.ES256, "private_key.use", "sig"},
		{"JWK for agreement", edit(ecJWK, map[string]any{"key_ops": []string{"deriveKey"}}), jose.ES256, "private_key.key_ops", "sign"},
		{"JWK of another alg", edit(ecJWK, map[string]any{"alg": "ES384"}), jose.ES256, "alg", "the JWK"},
		{"JWK contradicts", edit(ecJWK, map[string]any{"x": o.X, "y": o.Y}), jose.ES256, keyfile.FieldPrivate, "public half of d"},
		{"JWK off the curve", edit(ecJWK, map[string]any{"x": o.X}), jose.ES256, "private_key.x", "no point"},
		{"JWK without y", edit(ecJWK, map[string]any{"y": nil}), jose.ES256, "private_key.y", "required"},
		{"JWK d zero", edit(ecJWK, map[string]any{"d": "AA"}), jose.ES256, "private_key.d", "range"},
		{"JWK secp256k1", edit(ecJWK, map[string]any{"crv": "secp256k1"}), jose.ES256, "private_key.crv", "P-256"},
		{"JWK with padding", edit(ecJWK, map[string]any{"d": "AAA="}), jose.ES256, "private_key.d", "base64url"},
		{"JWK kid number", edit(ecJWK, map[string]any{"kid": 7}), jose.ES256, "private_key.kid", "string"},
		{"OKP contradicts", edit(edJWK, map[string]any{"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}), jose.EdDSA, keyfile.FieldPrivate, "public half of d"},
		{"OKP short", edit(edJWK, map[string]any{"d": "AAAA"}), jose.EdDSA, "private_key.d", "32 bytes"},
		{"X25519 JWK", edit(edJWK, map[string]any{"crv": "X25519"}), jose.EdDSA, keyfile.FieldPrivate, "cannot sign"},
		{"kty unknown", edit(edJWK, map[string]any{"kty": "XYZ"}), jose.EdDSA, "private_key.kty", "EC, OKP, RSA or AKP"},
		{"AKP without alg", edit(pqJWK, map[string]any{"alg": nil}), jose.MLDSA44, "private_key.alg", "ML-DSA-44"},
		{"AKP of another alg", edit(pqJWK, map[string]any{"alg": "SLH-DSA-SHA2-128s"}), jose.MLDSA44, "private_key.alg", "ML-DSA-44"},
		{"AKP of another size", edit(pqJWK, map[string]any{"alg": "ML-DSA-65"}), jose.MLDSA65, "private_key.pub", "1952 bytes"},
		{"AKP for another alg", pqJWK, jose.MLDSA87, "alg", "the JWK"},
		{"AKP for EdDSA", written(pq)["PKCS#8"], jose.EdDSA, keyfile.FieldPrivate, "an ML-DSA-44 key"},
		{"EC for ML-DSA", ecPEM, jose.MLDSA65, keyfile.FieldPrivate, "signs with an ML-DSA-65 key"},
		{"AKP without pub", edit(pqJWK, map[string]any{"pub": nil}), jose.MLDSA44, "private_key.pub", "required"},
		{"AKP expanded", edit(pqJWK, map[string]any{"priv": strings.Repeat("A", 3413)}), jose.MLDSA44, "private_key.priv", "base64url"},
		{"AKP short", edit(pqJWK, map[string]any{"priv": "AAAA"}), jose.MLDSA44, "private_key.priv", "32 bytes"},
		{"AKP contradicts", edit(pqJWK, map[string]any{"priv": strings.Repeat("A", 43)}), jose.MLDSA44, keyfile.FieldPrivate, "public half of priv"},
		{"AKP public", string(must(json.Marshal(jose.JSONWebKey{Key: pq.Public()}))), jose.MLDSA44, keyfile.FieldPrivate, "public_key"},
		{"ML-DSA PKCS#8, expanded", pemOf("PRIVATE KEY", expandedMLDSA(t, pq)), jose.MLDSA44, keyfile.FieldPrivate, "with its seed"},
		{"member twice", strings.Replace(ecJWK, "{", `{"kty":"EC",`, 1), jose.ES256, keyfile.FieldPrivate, "twice"},
		{"not JSON", `{"kty":`, jose.ES256, keyfile.FieldPrivate, "JSON"},
		{"no alg", ecPEM, "", "alg", "required"},
		{"HMAC", ecPEM, jose.HS256, "alg", "one of"},
	}
}

// expandedMLDSA is a key in the form of RFC 9881 section 6 that has no seed, an
// OCTET STRING of the expanded key.
func expandedMLDSA(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	var outer struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	if _, err := asn1.Unmarshal(must(x509.MarshalPKCS8PrivateKey(key)), &outer); err != nil {
		t.Fatal(err)
	}
	outer.Key = must(asn1.Marshal(make([]byte, 2560)))
	return must(asn1.Marshal(outer))
}

// PublicJWKMember is the n of an RSA key.
func PublicJWKMember(k *rsa.PrivateKey) (string, error) {
	return keystest.Base64(k.N.Bytes()), nil
}

func certificate(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}}
	return must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
}

// sec1 is an ECPrivateKey (RFC 5915 section 3).
type sec1 struct {
	Version    int
	PrivateKey []byte
	Curve      asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	PublicKey  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

// otherPoint is a SEC 1 key that carries the point of another.
func otherPoint(key, other *ecdsa.PrivateKey) []byte {
	var mine, its sec1
	_, _ = asn1.Unmarshal(must(x509.MarshalECPrivateKey(key)), &mine)
	_, _ = asn1.Unmarshal(must(x509.MarshalECPrivateKey(other)), &its)
	mine.PublicKey = its.PublicKey
	return must(asn1.Marshal(mine))
}

func TestRefusedPrivateKeys(t *testing.T) {
	for _, c := range refusedPrivateKeys(t) {
		_, err := PrivateImport{Key: []byte(c.text), Alg: c.alg}.parseCandidate()
		refusedAs(t, c, err)
	}
}

// refusedAs demands an error that names the field, helps, and repeats nothing.
func refusedAs(t *testing.T, c refusedKey, err error) {
	t.Helper()
	var refused *tokens.ClaimError
	if !errors.As(err, &refused) || refused.Field != c.field || !strings.Contains(refused.Message, c.say) {
		t.Errorf("%s: %v, want %s … %s", c.name, err, c.field, c.say)
		return
	}
	if said := repeats(err.Error(), c.text); said != "" {
		t.Errorf("%s: repeats %q", c.name, said)
	}
}

// repeats finds a run of the material in a text that is long enough to be no
// accident.
func repeats(said, material string) string {
	const run = 12
	var m map[string]any
	if json.Unmarshal([]byte(material), &m) == nil {
		material = ""
		for _, v := range m {
			if s, text := v.(string); text {
				material += " " + s
			}
		}
	} else if _, after, found := strings.Cut(material, "-----\n"); found {
		material, _, _ = strings.Cut(after, "\n-----")
	}
	for i := 0; i+run <= len(material); i++ {
		if part := material[i : i+run]; strings.Contains(said, part) {
			return part
		}
	}
	return ""
}

func TestRefusedPublicKeys(t *testing.T) {
	ec, rs := keystest.PrivateKey(t, jose.ES256), keystest.PrivateKey(t, jose.RS256)
	private := written(keystest.Signer(ec))
	jwk := string(must(keys.PublicJWK(ec.Public(), jose.ES256, "k")))
	bare := edit(string(must(keys.PublicJWK(rs.Public(), jose.RS256, "r"))), map[string]any{"alg": nil})
	many := strings.Repeat(jwk+",", keyfile.MaxKeys) + jwk
	for _, c := range []refusedKey{
		{"words", "hunter2-hunter2", "", keyfile.FieldPublic, "neither PEM"},
		{"certificate", pemOf("CERTIFICATE", certificate(t, keystest.Signer(ec))), "", keyfile.FieldPublic, "openssl x509"},
		{"private PEM", private["PKCS#8"], "", keyfile.FieldPublic, "-pubout"},
		{"private JWK", private["JWK"], "", "public_key.d", "private"},
		{"two", string(must(keys.PublicPEM(ec.Public()))) + string(must(keys.PublicPEM(rs.Public()))), "", keyfile.FieldPublic, "several keys"},
		{"rubbish", pemOf("PUBLIC KEY", []byte("x")), "", keyfile.FieldPublic, "cannot be read"},
		{"rubbish PKCS#1", pemOf("RSA PUBLIC KEY", []byte("x")), "", keyfile.FieldPublic, "cannot be read"},
		{"RSA without alg", string(must(keys.PublicPEM(rs.Public()))), "", "alg", "required"},
		{"wrong alg", jwk, jose.RS256, "alg", "the JWK"},
		{"alg unknown", edit(jwk, map[string]any{"alg": "ES256K"}), "", "public_key.alg", "one of"},
		{"kid unusable", edit(jwk, map[string]any{"kid": "public:a\n"}), "", "public_key.kid", "control characters"},
		{"oct", `{"keys":[{"kty":"oct","k":"aHVudGVyMi1odW50ZXIy"}]}`, "", "public_key.keys[0].kty", "shared secret"},
		{"no keys", `{"keys":[]}`, "", "public_key.keys", "no key"},
		{"no array", `{"keys":7}`, "", "public_key.keys", "array"},
		{"null", `{"keys":null}`, "", "public_key.keys", "array"},
		{"null key", `{"keys":[null]}`, "", "public_key.keys[0]", "JSON object"},
		{"only for encryption", `{"keys":[` + edit(jwk, map[string]any{"use": "enc"}) + `]}`, "", "public_key.keys", "no key"},
		{"use is no text", `{"keys":[` + edit(jwk, map[string]any{"use": 7}) + `]}`, "", "public_key.keys[0].use", "string"},
		{"use misspelled", `{"keys":[` + edit(jwk, map[string]any{"use": "SIG"}) + `]}`, "", "public_key.keys[0].use", `not "SIG"`},
		{"kty misspelled", `{"keys":[` + edit(jwk, map[string]any{"kty": "ec"}) + `]}`, "", "public_key.keys[0].kty", "must be EC"},
		{"crv misspelled", `{"keys":[` + edit(jwk, map[string]any{"crv": "p-256"}) + `]}`, "", "public_key.keys[0].crv", "must be P-256"},
		{"no kty", `{"keys":[` + edit(jwk, map[string]any{"kty": nil}) + `]}`, "", "public_key.keys[0].kty", "must be EC"},
		{"too many", `{"keys":[` + many + `]}`, "", "public_key.keys", "at most 64"},
		{"kid twice", `{"keys":[` + jwk + `,` + edit(bare, map[string]any{"kid": "k", "alg": "RS256"}) + `]}`, "", "public_key.keys[0].kid", "another key"},
		{"no alg, then no point", `{"keys":[` + bare + `,` + edit(jwk, map[string]any{"x": "AA"}) + `]}`, "", "alg", "required"},
		{"no point, then no alg", `{"keys":[` + edit(jwk, map[string]any{"x": "AA"}) + `,` + bare + `]}`, "", "public_key.keys[0].x", "point"},
		{"set without alg", `{"keys":[` + bare + `]}`, "", "alg", "required"},
	} {
		_, _, err := PublicImport{Key: []byte(c.text), Alg: c.alg}.parseCandidates()
		refusedAs(t, c, err)
	}
	// In a set a key is refused alone.
	for name, c := range map[string]struct{ key, reason string }{
		"use":        {edit(jwk, map[string]any{"use": "SIG"}), "its use must be sig"},
		"kty":        {edit(jwk, map[string]any{"kty": "ec"}), "its kty must be EC"},
		"no crv":     {edit(jwk, map[string]any{"crv": nil}), "its crv must be P-256"},
		"no alg":     {bare, "its alg is required"},
		"no JWK":     {"7", "is not a JSON object"},
		"e = 3":      {edit(bare, map[string]any{"e": "Aw", "alg": "RS256"}), "is an RSA key with a public exponent below 65537"},
		"unusual":    {edit(jwk, map[string]any{"alg": "ES256K"}), "has an alg that Keyward does not support"},
		"wrong alg":  {edit(jwk, map[string]any{"alg": "ES384"}), "ES384 signs with an EC key on P-384"},
		"kid":        {edit(jwk, map[string]any{"kid": "a\n"}), "its kid must be"},
		"kid, other": {edit(jwk, map[string]any{"kid": strings.Repeat("k", 257)}), "its kid must be"},
	} {
		good := edit(jwk, map[string]any{"kid": "good"})
		cs, set, err := PublicImport{Key: []byte(`{"keys":[` + c.key + `,` + good + `]}`)}.parseCandidates()
		if err != nil || len(cs) != 1 || cs[0].kid != "good" || len(set.Skipped) != 1 || !set.Skipped[0].Refused || set.Skipped[0].Index != 0 || !strings.Contains(set.Skipped[0].Reason, c.reason) {
			t.Errorf("%s: %v, %v %+v", name, err, cs, set.Skipped)
		}
	}
	if _, _, err := (PublicImport{Key: []byte(`{"keys":[` + jwk + `]}`), KID: "x"}).parseCandidates(); !errors.Is(err, tokens.ErrInvalid) {
		t.Errorf("kid with a set: %v", err)
	}
}
