package moving

import (
	"crypto"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// plans returns "kid becomes alg" of the plan of an import.
func plans(keys []Key) (all []string) {
	target := Target{Policies: []string{"RS256", "RS512", "ES256", "PS256", "EdDSA"}}
	for _, s := range Plan(keys, target, here) {
		all = append(all, s.KID+" "+s.Becomes+" "+s.Alg)
	}
	return all
}

func wantPlan(t *testing.T, keys []Key, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Error(err)
		return
	}
	if got := plans(keys); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// Files of keytool and openssl in testdata/formats.
func TestPKCS12(t *testing.T) {
	at := func(name string) string { return filepath.Join("testdata/formats", name) }
	keys, err := PKCS12(at("keytool.p12"), PKCS12Options{Password: "changeit", KIDFrom: KIDAlias}, Settings{Alg: "RS256"})
	wantPlan(t, keys, err, "sas-rsa standby RS256", "kid/with space= standby ES256")
	keys, err = PKCS12(at("ed25519.p12"), PKCS12Options{Password: "changeit", KIDFrom: KIDThumbprint, KID: "ed"}, Settings{})
	wantPlan(t, keys, err, "ed standby EdDSA")
	for _, name := range []string{"openssl.p12", "legacy.p12"} {
		keys, err = PKCS12(at(name), PKCS12Options{Password: "secret", KIDFrom: KIDCertificate}, Settings{Alg: "RS512"})
		wantPlan(t, keys, err, "C62C7E4CC7904A601A0D9D03E6BD293A39C89F41 standby RS512")
	}
	thumbprint := keys[0].Public.Thumbprint()
	keys, err = PKCS12(at("nopass.p12"), PKCS12Options{KIDFrom: KIDThumbprint}, Settings{Alg: "RS256"})
	wantPlan(t, keys, err, thumbprint+" standby RS256")
	k, err := os.ReadFile(at("bag.pem")) // openssl pkcs12 -nodes: the certificate and the key
	if err != nil {
		t.Fatal(err)
	}
	keys, err = OAuth2Server(write(t, t.TempDir(), "bag.pem", string(k)), Settings{})
	wantPlan(t, keys, err, thumbprint+" standby RS256")

	// Beside keys of types that Keyward does not have, and without any certificate.
	keys, err = PKCS12(at("mixed.p12"), PKCS12Options{Password: "changeit", KIDFrom: KIDAlias}, Settings{Alg: "RS256"})
	wantPlan(t, keys, err, "dsa left ", "rsa standby RS256", "ec standby ES256", "ed standby EdDSA", "weak refused ", "ed448 left ", "x left ")
	if err == nil && (!keys[0].Stranger || !strings.Contains(keys[4].RefuseReason, "1024 bits") || !strings.Contains(keys[6].SkipReason, "key agreement")) {
		t.Errorf("%q", summary(keys))
	}
	keys, err = PKCS12(at("mixed.p12"), PKCS12Options{Password: "changeit", KIDFrom: KIDCertificate}, Settings{Alg: "RS256"})
	if err != nil || len(keys) != 7 || len(keys[1].KID) != 40 || keys[1].RefuseReason != "" {
		t.Errorf("%q %v", summary(keys), err)
	}
	keys, err = PKCS12(at("secp256k1.p12"), PKCS12Options{Password: "secret", KIDFrom: KIDThumbprint}, Settings{})
	wantPlan(t, keys, err, "k1 left ")
	keys, err = PKCS12(at("nocerts.p12"), PKCS12Options{Password: "secret", KIDFrom: KIDThumbprint, KID: "bare"}, Settings{Alg: "RS256"})
	wantPlan(t, keys, err, "bare standby RS256")

	// Names in any script, one distinguished name for all, and a certificate without its key:
	// the attributes of the latter the library does not read, nor its old encryption this package.
	for name, other := range map[string]string{"trusted.p12": "старый", "trusted-legacy.p12": "B0E3B9B93FB21733E979BF91E81645D670E83650"} {
		keys, err = PKCS12(at(name), PKCS12Options{Password: "changeit", KIDFrom: KIDAlias}, Settings{Alg: "RS256"})
		wantPlan(t, keys, err, "schlüssel-rsa standby RS256", "鍵-ec standby ES256", "ключ deprecated RS256", other+" left ")
		keys, err = PKCS12(at(name), PKCS12Options{Password: "changeit", KIDFrom: KIDCertificate}, Settings{Alg: "RS256"})
		wantPlan(t, keys, err, "2FDAC25461BB6F8FC6BC5F70E1AB2718EFB8FA1E standby RS256", "D164CD079D8894911B2FCF6EE5069B1E235BB97A standby ES256",
			"0449890CCE66B8D30EF7F5F95A78CF415E7C80A5 deprecated RS256", other+" left ")
		if err == nil && !strings.Contains(keys[3].SkipReason, "certificate without a private key") {
			t.Errorf("%q", summary(keys))
		}
	}

	// RSASSA-PSS keys: of keytool, of openssl with parameters, and in the encryption of old files.
	keys, err = PKCS12(at("pss-keytool.p12"), PKCS12Options{Password: "changeit", KIDFrom: KIDAlias}, Settings{Alg: "RS256"})
	wantPlan(t, keys, err, "pss standby PS256", "rsa standby RS256")
	keys, err = PKCS12(at("pss-openssl.p12"), PKCS12Options{Password: "secret", KIDFrom: KIDCertificate}, Settings{})
	if err != nil || len(keys) != 1 || keys[0].KID != "B894223A9C3003038141271A4F8E9E125ADAE484" || keys[0].Alg != "PS384" || keys[0].Private == nil || keys[0].RefuseReason != "" {
		t.Errorf("%q %v", summary(keys), err)
	}
	keys, err = PKCS12(at("pss-legacy.p12"), PKCS12Options{Password: "secret", KIDFrom: KIDThumbprint}, Settings{})
	if err != nil || len(keys) != 1 || keys[0].Private != nil || !strings.Contains(keys[0].RefuseReason, "openssl pkcs12") {
		t.Errorf("%q %v", summary(keys), err)
	}

	for name, c := range map[string]struct {
		o   PKCS12Options
		why string
	}{
		"keytool.jks":   {PKCS12Options{Password: "changeit"}, "keytool -importkeystore"},
		"openssl.p12":   {PKCS12Options{Password: "wrong"}, "password does not open it"},
		"legacy.p12":    {PKCS12Options{}, "--password-file"},
		"keytool.p12":   {PKCS12Options{Password: "changeit", KID: "one"}, "2 private keys"},
		"mixed.p12":     {PKCS12Options{Password: "wrong"}, "password does not open it"},
		"secp256k1.p12": {PKCS12Options{}, "--password-file"},
		"encrypted.pem": {PKCS12Options{}, "PEM and not PKCS#12"},
	} {
		if _, err := PKCS12(at(name), c.o, Settings{}); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OAuth2Server(at("encrypted.pem"), Settings{}); err == nil || !strings.Contains(err.Error(), "openssl pkey") {
		t.Errorf("an encrypted PEM: %v", err)
	}
}

// RSASSA-PSS keys join a PS algorithm, whatever the source's default is.
func TestPSSKeys(t *testing.T) {
	private, err := os.ReadFile("testdata/cases/rsa-pss.pem")
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile("testdata/cases/rsa-pss.pub.pem")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Settings{{}, {Alg: "RS256"}, {Alg: "PS256"}} {
		keys, err := OAuth2Server(write(t, t.TempDir(), "key.pem", string(private)), s)
		wantPlan(t, keys, err, keys[0].KID+" standby PS256")
	}
	keys, err := OAuth2Server(write(t, t.TempDir(), "key.pem", string(private)), Settings{Alg: "PS512"})
	if err != nil || keys[0].Alg != "PS512" {
		t.Errorf("%+v %v", keys, err)
	}
	dir := t.TempDir()
	write(t, dir, "p.pem", string(public))
	write(t, dir, "metadata.json", `{"keys":[{"kid":"p","status":"active","expiresAt":4102444800123,"keyPath":"/k/p.pem"}]}`)
	keys, err = NestJWKS(dir, Settings{Alg: "RS256"})
	wantPlan(t, keys, err, "p deprecated PS256")
}

// A shared secret beside key pairs, as keytool -genseckey writes it, stays behind by name.
func TestPKCS12WithSecret(t *testing.T) {
	der, err := x509.MarshalPKCS8PrivateKey(ecKey(t))
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string, id asn1.ObjectIdentifier, value []byte) safeBag {
		text, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagBMPString, Bytes: bmpString(name)[:2*len(name)]})
		if err != nil {
			t.Fatal(err)
		}
		return safeBag{
			ID: id, Value: asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: value},
			Attributes: []bagAttribute{{oidFriendlyName, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: text}}},
		}
	}
	secret, err := asn1.Marshal(struct {
		ID    asn1.ObjectIdentifier
		Value []byte `asn1:"explicit,tag:0"`
	}{oidData, []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	file, err := singlePart([]safeBag{named("pair", oidKeyBag, der), named("hmac", oidSecretBag, secret)}, bmpString("x"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := PKCS12(write(t, t.TempDir(), "store.p12", string(file)), PKCS12Options{Password: "x", KIDFrom: KIDAlias}, Settings{})
	wantPlan(t, keys, err, "pair standby ES256", "hmac left ")
	if err == nil && (!keys[1].Stranger || !strings.Contains(keys[1].SkipReason, "shared secret")) {
		t.Errorf("%+v", keys[1])
	}
}

// An RSASSA-PSS key comes in for the algorithm that its parameters allow, if there is one:
// the same hash for the mask, and no longer salt than the algorithm has.
func TestPSSKeysWithParameters(t *testing.T) {
	type algorithmID struct {
		Algorithm  asn1.ObjectIdentifier
		Parameters any `asn1:"optional"`
	}
	sha := func(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, n} } // 1: SHA-256
	mgf1, sha1 := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	for name, test := range map[string]struct {
		hash, mask, inner asn1.ObjectIdentifier
		salt, trailer     int
		want              string
	}{
		"PS256":            {sha(1), mgf1, sha(1), 32, 1, "standby PS256"},
		"a shorter salt":   {sha(1), mgf1, sha(1), 20, 1, "standby PS256"},
		"PS384":            {sha(2), mgf1, sha(2), 48, 1, "standby PS384"},
		"PS512":            {sha(3), mgf1, sha(3), 64, 1, "standby PS512"},
		"a longer salt":    {sha(1), mgf1, sha(1), 64, 1, "refused"},
		"another mask":     {sha(1), mgf1, sha1, 32, 1, "refused"},
		"SHA-1":            {sha1, mgf1, sha1, 20, 1, "refused"},
		"SHA-224":          {sha(4), mgf1, sha(4), 28, 1, "refused"},
		"no MGF1":          {sha(1), sha1, sha(1), 32, 1, "refused"},
		"another trailer":  {sha(1), mgf1, sha(1), 32, 2, "refused"},
		"SHA-512/256":      {sha(6), mgf1, sha(6), 32, 1, "refused"},
		"a mask for PS512": {sha(1), mgf1, sha(3), 32, 1, "refused"},
	} {
		der, err := asn1.Marshal(struct {
			Version   int
			Algorithm algorithmID
			Key       []byte
		}{0, algorithmID{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}, struct {
			Hash    algorithmID `asn1:"explicit,tag:0"`
			Mask    algorithmID `asn1:"explicit,tag:1"`
			Salt    int         `asn1:"explicit,tag:2"`
			Trailer int         `asn1:"explicit,tag:3"`
		}{algorithmID{test.hash, asn1.NullRawValue}, algorithmID{test.mask, algorithmID{test.inner, asn1.NullRawValue}}, test.salt, test.trailer}}, x509.MarshalPKCS1PrivateKey(rsaKey())})
		if err != nil {
			t.Fatal(err)
		}
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		keys, err := OAuth2Server(write(t, t.TempDir(), "key.pem", text), Settings{})
		if err != nil || len(keys) != 1 {
			t.Fatalf("%s: %v", name, err)
		}
		step := Plan(keys, Target{Policies: []string{"RS256", "PS256", "PS384", "PS512"}}, here)[0]
		if got := step.Becomes + " " + step.Alg; !strings.HasPrefix(got, test.want) || step.Becomes == Refused && !strings.Contains(step.Why, "RSASSA-PSS") {
			t.Errorf("%s: %s, %s; want %s", name, got, step.Why, test.want)
		}
	}
}

func std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func TestKeycloak(t *testing.T) {
	rs, ec := rsaKey(), ecKey(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	pasted, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed8, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	pq, err := mldsa.GenerateKey(mldsa.MLDSA44())
	if err != nil {
		t.Fatal(err)
	}
	pq8, err := x509.MarshalPKCS8PrivateKey(pq)
	if err != nil {
		t.Fatal(err)
	}
	kid := func(pub crypto.PublicKey) string {
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(der)
		return b64(sum[:])
	}
	provider := func(name, id string, config map[string]string) string {
		lists := map[string][]string{}
		for n, v := range config {
			lists[n] = []string{v}
		}
		text, _ := json.Marshal(map[string]any{"id": "x", "name": name, "providerId": id, "subComponents": map[string]any{}, "config": lists})
		return string(text)
	}
	realm := `{"realm":"r","components":{"org.keycloak.keys.KeyProvider":[` + strings.Join([]string{
		provider("old", "ecdsa-generated", map[string]string{"ecdsaPrivateKey": std(pkcs8), "ecdsaEllipticCurveKey": "P-256", "priority": "50", "active": "false"}),
		provider("rsa", "rsa-generated", map[string]string{"privateKey": std(x509.MarshalPKCS1PrivateKey(rs)), "certificate": "AA==", "priority": "100", "algorithm": "RS512"}),
		provider("enc", "rsa-enc-generated", map[string]string{"privateKey": std(x509.MarshalPKCS1PrivateKey(rs)), "algorithm": "RSA-OAEP"}),
		provider("hmac", "hmac-generated", map[string]string{"secret": "c2VjcmV0", "priority": "40"}),
		provider("off", "rsa", map[string]string{"privateKey": "AAAA", "enabled": "false", "priority": "30"}),
		provider("masked", "rsa-generated", map[string]string{"privateKey": "**********", "priority": "20"}),
		provider("store", "java-keystore", map[string]string{"keystore": "/k.jks", "priority": "10"}),
		provider("broken", "rsa", map[string]string{"privateKey": "AAAA", "priority": "5"}),
		provider("pasted", "rsa", map[string]string{"privateKey": privatePEM(t, pasted), "priority": "4", "keyUse": "SIG", "algorithm": "PS256"}),
		provider("pasted enc", "rsa", map[string]string{"privateKey": privatePEM(t, rs), "priority": "3", "keyUse": "ENC"}),
		provider("ed", "eddsa-generated", map[string]string{"eddsaPrivateKey": std(ed8), "eddsaEllipticCurveKey": "Ed25519", "priority": "2"}),
		provider("pq", "mldsa-generated", map[string]string{"mldsaPrivateKey": std(pq8), "mldsaAlgorithmKey": "ML-DSA-44", "priority": "1"}),
		provider("agreement", "ecdh-generated", map[string]string{"ecdhPrivateKey": "AAAA", "ecdhAlgorithm": "ECDH-ES", "priority": "1"}),
		provider("ed448", "eddsa-generated", map[string]string{"eddsaPrivateKey": "AAAA", "eddsaEllipticCurveKey": "Ed448", "priority": "1"}),
	}, ",") + `]}}`
	for _, text := range []string{realm, "[" + realm + "]", "\ufeff" + realm} {
		keys, err := Keycloak(write(t, t.TempDir(), "realm.json", text), Settings{})
		if err != nil || keys[1].State != "passive" || keys[3].State != "disabled" {
			t.Errorf("%q, %v", summary(keys), err)
		}
		wantPlan(t, keys, err, kid(rs.Public())+" standby RS512", kid(ec.Public())+" deprecated ES256", "hmac left ", "off left ", "masked refused ", "store refused ",
			"broken refused ", kid(pasted.Public())+" standby PS256", "pasted enc left ", kid(ed.Public())+" standby EdDSA", kid(pq.PublicKey())+" refused ML-DSA-44", "agreement left ", "ed448 left ", "enc left ")
	}
	for _, text := range []string{std(x509.MarshalPKCS1PrivateKey(rs)), strings.ReplaceAll(privatePEM(t, rs), "\n", `\n`)} { // of Keycloak 1 and 2.2
		keys, err := Keycloak(write(t, t.TempDir(), "realm.json", `{"realm":"r","privateKey":"`+text+`","publicKey":"AAAA","codeSecret":"x"}`), Settings{})
		wantPlan(t, keys, err, kid(rs.Public())+" standby RS256")
	}
	if _, err := Keycloak(write(t, t.TempDir(), "realm.json", `{"realm":"r","components":{}}`), Settings{}); err == nil || !strings.Contains(err.Error(), "kc.sh export") {
		t.Error(err)
	}
}

// dotNetText returns RSAParameters as .NET writes them.
func dotNetText() map[string]string {
	rs := rsaKey()
	rs.Precompute()
	return map[string]string{
		"D": std(rs.D.Bytes()), "DP": std(rs.Precomputed.Dp.Bytes()), "DQ": std(rs.Precomputed.Dq.Bytes()), "Exponent": "AQAB",
		"InverseQ": std(rs.Precomputed.Qinv.Bytes()), "Modulus": std(rs.N.Bytes()), "P": std(rs.Primes[0].Bytes()), "Q": std(rs.Primes[1].Bytes()),
	}
}

func TestDotnet(t *testing.T) {
	numbers, err := json.Marshal(dotNetText())
	if err != nil {
		t.Fatal(err)
	}
	thumbprint := public("k", "RS256").Public.Thumbprint()
	xml := "<RSAKeyValue>"
	for _, name := range []string{"Modulus", "Exponent", "P", "Q", "DP", "DQ", "InverseQ", "D"} {
		xml += "<" + name + ">" + dotNetText()[name] + "</" + name + ">"
	}
	xml += "</RSAKeyValue>"
	onlyPublic := fmt.Sprintf("<RSAKeyValue><Modulus>%s</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>", dotNetText()["Modulus"])
	ec := ecKey(t)
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d, err := ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	curve := fmt.Sprintf(`{"Curve":{"CurveType":2},"Q":{"X":%q,"Y":%q},"D":%q}`, std(point[1:33]), std(point[33:]), std(d))
	data, _ := json.Marshal(`{"Parameters":` + string(numbers) + `}`)
	row := func(created string) string {
		return `[{"Id":"A1","Version":1,"Created":` + created + `,"Use":"signing","Algorithm":"RS512","IsX509Certificate":false,"DataProtected":false,"Data":` + string(data) + `}]`
	}
	two := `{"keys":[` + jwkText(t, rsaKey(), "a", "RS256", "sig") + `,` + jwkText(t, ec, "b", "ES256", "sig") + `]}`
	if _, err := Dotnet(write(t, t.TempDir(), "key", two), "x", Settings{}); err == nil || !strings.Contains(err.Error(), "2 keys") {
		t.Errorf("one kid for two keys: %v", err)
	}
	for name, c := range map[string]struct{ text, kid, want string }{
		"RSAParameters":         {string(numbers), "", thumbprint + " standby RS256"},
		"with a kid":            {string(numbers), "a/b", "a/b standby RS256"},
		"XML":                   {xml, "x", "x standby RS256"},
		"public XML":            {onlyPublic, "x", "x deprecated RS256"},
		"tempkey.rsa":           {`{"KeyId":"ab12","Parameters":` + string(numbers) + `}`, "", "ab12 standby RS256"},
		"tempkey.jwk":           {jwkText(t, rsaKey(), "tj", "RS256", ""), "", "tj standby RS256"},
		"JsonWebKey":            {property(jwkText(t, rsaKey(), "ndp", "RS256", "sig")), "", "ndp standby RS256"},
		"JsonWebKey, public":    {property(jwkText(t, ecKey(t).Public(), "ndp", "ES256", "sig")), "", "ndp deprecated ES256"},
		"JsonWebKey, its kid":   {property(jwkText(t, rsaKey(), "", "RS256", "sig")), "given", "given standby RS256"},
		"JsonWebKey, enc":       {property(jwkText(t, rsaKey(), "e", "", "enc")), "", "e left "},
		"PEM":                   {privatePEM(t, rsaKey()), "", thumbprint + " standby RS256"},
		"half a private key":    {strings.Replace(string(numbers), `"P":`, `"p1":`, 1), "h", "h refused RS256"},
		"byte order mark, XML":  {"\ufeff" + xml, "x", "x standby RS256"},
		"ECParameters":          {curve, "c", "c standby ES256"},
		"a set of JsonWebKeys":  {`{"Keys":[` + property(jwkText(t, rsaKey(), "ndp", "RS256", "sig")) + `],"AdditionalData":{}}`, "", "ndp standby RS256"},
		"a JWK Set":             {`{"keys":[` + jwkText(t, rsaKey(), "set", "RS256", "sig") + `]}`, "", "set standby RS256"},
		"rows of the table":     {row(`"2026-01-01T00:00:00.12"`), "", "A1 standby RS512"},
		"a row with a kid":      {row(`"2026-01-01 00:00:00.1234567 +00:00"`), "x", "x standby RS512"},
		"a row of PostgreSQL":   {row(`"2026-01-01 00:00:00.123456\u002B00"`), "", "A1 standby RS512"},
		"a row without a time":  {row(`null`), "", "A1 standby RS512"},
		"a key file with a kid": {strings.Trim(row(`"2026-01-01T00:00:00.1234567Z"`), "[]"), "x", "x standby RS512"},
		"a set with a kid":      {`{"keys":[` + jwkText(t, rsaKey(), "set", "RS256", "sig") + `]}`, "x", "x standby RS256"},
		"a set without kids":    {`{"Keys":[` + property(jwkText(t, rsaKey(), "", "RS256", "sig")) + `]}`, "x", "x standby RS256"},
		"XmlSerializer":         {`<?xml version="1.0" encoding="utf-16"?>` + "\r\n" + strings.ReplaceAll(xml, "RSAKeyValue", "RSAParameters"), "x", "x standby RS256"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := Dotnet(write(t, t.TempDir(), "key", c.text), c.kid, Settings{Alg: "RS256"})
			wantPlan(t, keys, err, c.want)
		})
	}
	const protection = `<?xml version="1.0" encoding="utf-8"?><key id="80732141-ec8f-4b80-af9c-c4d2d1ff8901" version="1"><descriptor deserializerType="x"><descriptor><masterKey><value>c2VjcmV0</value></masterKey></descriptor></descriptor></key>`
	if _, err := Dotnet(write(t, t.TempDir(), "key.xml", protection), "", Settings{}); err == nil || !strings.Contains(err.Error(), "Data Protection") || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Error(err)
	}
	for _, text := range []string{`{}`, `{"Kty":null,"N":"AQAB"}`, `<a/>`, `{"Modulus":"%%"}`, `[]`, ``, row(`"yesterday"`), row(`7`)} {
		if _, err := Dotnet(write(t, t.TempDir(), "key", text), "", Settings{}); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// property writes a JWK as System.Text.Json writes a JsonWebKey: with the names and the
// nulls of its properties.
func property(jwk string) string {
	var members map[string]any
	if err := json.Unmarshal([]byte(jwk), &members); err != nil {
		panic(err)
	}
	out := map[string]any{"AdditionalData": map[string]any{}, "KeyId": members["kid"], "KeyOps": []string{}, "Oth": nil, "X5c": []string{}, "K": nil, "KeySize": 2048, "HasPrivateKey": members["d"] != nil}
	for _, name := range []string{"Alg", "Crv", "D", "DP", "DQ", "E", "Kid", "Kty", "N", "P", "Q", "QI", "Use", "X", "Y"} {
		out[name] = members[strings.ToLower(name)]
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestDuende(t *testing.T) {
	dir := t.TempDir()
	ec := ecKey(t)
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d, err := ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	file := func(id, created, alg, data string, certificate, protected bool) {
		text, err := json.Marshal(map[string]any{
			"Version": 1, "Id": id, "Created": created, "Algorithm": alg, "IsX509Certificate": certificate, "Data": data, "DataProtected": protected,
		})
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "is-signing-key-"+id+".json", "\ufeff"+string(text))
	}
	numbers, err := json.Marshal(map[string]any{"Parameters": dotNetText(), "Id": "A1", "Algorithm": "RS256", "HasX509Certificate": false})
	if err != nil {
		t.Fatal(err)
	}
	file("A1", "2026-01-01T00:00:00.1234567Z", "RS256", string(numbers), false, false)
	file("B2", "2026-01-03T00:00:00Z", "RS256", "CfDJ8AAAA", false, true)
	ecData, _ := json.Marshal(map[string]any{"D": std(d), "Q": map[string]string{"X": std(point[1:33]), "Y": std(point[33:])}, "Id": "C3"})
	file("C3", "2026-01-02T00:00:00Z", "ES256", string(ecData), false, false)
	file("D4", "2025-01-02T00:00:00Z", "RS256", `{"CertificateRawData":"AAAA"}`, true, false)
	pfx, err := os.ReadFile("testdata/formats/nopass.p12")
	if err != nil {
		t.Fatal(err)
	}
	file("D5", "2025-01-01T00:00:00Z", "PS256", `{"CertificateRawData":"`+std(pfx)+`","HasX509Certificate":true,"Id":"D5","Algorithm":"PS256"}`, true, false)
	file("D6", "2024-12-01T00:00:00Z", "ES256", `{"CertificateRawData":"`+std(pfx)+`"}`, true, false)
	file("E5", "2024-01-02T00:00:00Z", "ES256", string(numbers), false, false)
	file("F6", "2023-01-02T00:00:00Z", "RS256", `7`, false, false)
	keys, err := Dotnet(dir, "", Settings{})
	wantPlan(t, keys, err, "B2 refused ", "C3 standby ES256", "A1 standby RS256", "D4 refused ", "D5 standby PS256", "D6 refused ", "E5 refused ", "F6 refused ")
	if err == nil && (!strings.Contains(keys[0].RefuseReason, "ISigningKeyProtector") || !strings.Contains(keys[3].RefuseReason, "pkcs12") || !strings.Contains(keys[5].RefuseReason, "does not fit")) {
		t.Errorf("%q", summary(keys))
	}
	keys, err = Dotnet(filepath.Join(dir, "is-signing-key-A1.json"), "", Settings{})
	wantPlan(t, keys, err, "A1 standby RS256")
	if _, err := Dotnet(t.TempDir(), "", Settings{}); err == nil {
		t.Error("an empty directory was read")
	}
}

// A private key beside its public half signs, whatever comes first, and a kid that the
// source gives to a key for signatures and to another for encryption is the former's.
func TestPlanTwins(t *testing.T) {
	pub, priv := public("k", "RS256"), private("k", "RS256")
	wantPlan(t, []Key{pub, priv}, nil, "k left RS256", "k standby RS256")
	other := public("k", "RS256")
	other.SkipReason = "is for encryption, not for signatures"
	wantPlan(t, []Key{other, priv}, nil, "k left RS256", "k standby RS256")
	for _, c := range []struct {
		known Known
		want  string
	}{
		{Known{KID: "k", Alg: "RS256", State: "deprecated"}, "k refused RS256"},
		{Known{KID: "k", Alg: "RS512", Algs: []string{"RS512", "RS256"}, State: "deprecated"}, "k there RS256"},
	} {
		c.known.Thumbprint = pub.Public.Thumbprint()
		second := pub
		second.Alg = "RS512"
		steps := Plan([]Key{pub, second}, Target{Keys: []Known{c.known}}, here)
		if got := steps[0].KID + " " + steps[0].Becomes + " " + steps[0].Alg; got != c.want {
			t.Errorf("%+v: %s", c.known, got)
		}
	}
	// For the algorithm that the tenant has a policy for.
	second := private("k", "RS512")
	second.Public, second.Private = priv.Public, priv.Private
	steps := Plan([]Key{priv, second}, Target{Policies: []string{"RS512"}}, here)
	if steps[0].Alg != "RS512" || steps[0].Becomes != Standby || strings.Join(steps[0].Algs, " ") != "RS512 RS256" {
		t.Errorf("%+v", steps[0])
	}
}

// ML-DSA keys move in as a JWK and as PKCS#8.
func TestMLDSAKeys(t *testing.T) {
	key, err := mldsa.GenerateKey(mldsa.MLDSA44())
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Policies: []string{"ML-DSA-44"}}
	for name, c := range map[string]struct{ text, want string }{
		"private": {jwkText(t, key, "pq", "ML-DSA-44", "sig"), "pq standby ML-DSA-44"},
		"public":  {jwkText(t, key.PublicKey(), "pq", "ML-DSA-44", "sig"), "pq deprecated ML-DSA-44"},
	} {
		keys, err := JWKFile(write(t, t.TempDir(), "key.json", c.text), Settings{})
		if err != nil {
			t.Fatal(err)
		}
		s := Plan(keys, target, here)[0]
		if got := s.KID + " " + s.Becomes + " " + s.Alg; got != c.want {
			t.Errorf("%s: %s (%s)", name, got, s.Why)
		}
	}
	keys, err := OAuth2Server(write(t, t.TempDir(), "key.pem", privatePEM(t, key)), Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if s := Plan(keys, target, here)[0]; s.Becomes != Standby || s.Alg != "ML-DSA-44" {
		t.Errorf("%+v", s)
	}
}
