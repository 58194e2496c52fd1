package moving

import (
	"crypto"
	"crypto/mldsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
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

	for name, c := range map[string]struct {
		o   PKCS12Options
		why string
	}{
		"keytool.jks":   {PKCS12Options{Password: "changeit"}, "keytool -importkeystore"},
		"openssl.p12":   {PKCS12Options{Password: "wrong"}, "password does not open it"},
		"legacy.p12":    {PKCS12Options{}, "--password-file"},
		"keytool.p12":   {PKCS12Options{Password: "changeit", KID: "one"}, "2 private keys"},
		"nocerts.p12":   {PKCS12Options{Password: "secret"}, "openssl pkcs12"},
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

func std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func TestKeycloak(t *testing.T) {
	rs, ec := rsaKey(), ecKey(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ec)
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
	}, ",") + `]}}`
	for _, text := range []string{realm, "[" + realm + "]", "\ufeff" + realm} {
		keys, err := Keycloak(write(t, t.TempDir(), "realm.json", text), Settings{})
		wantPlan(t, keys, err, kid(rs.Public())+" standby RS512", kid(ec.Public())+" deprecated ES256", "hmac left ", "off left ", "masked refused ", "store refused ",
			"broken refused ", "enc left ")
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
	for name, c := range map[string]struct{ text, kid, want string }{
		"RSAParameters":        {string(numbers), "", thumbprint + " standby RS256"},
		"with a kid":           {string(numbers), "a/b", "a/b standby RS256"},
		"XML":                  {xml, "x", "x standby RS256"},
		"public XML":           {onlyPublic, "x", "x deprecated RS256"},
		"tempkey.rsa":          {`{"KeyId":"ab12","Parameters":` + string(numbers) + `}`, "", "ab12 standby RS256"},
		"tempkey.jwk":          {jwkText(t, rsaKey(), "tj", "RS256", ""), "", "tj standby RS256"},
		"PEM":                  {privatePEM(t, rsaKey()), "", thumbprint + " standby RS256"},
		"half a private key":   {strings.Replace(string(numbers), `"P":`, `"p1":`, 1), "h", "h refused RS256"},
		"byte order mark, XML": {"\ufeff" + xml, "x", "x standby RS256"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := Dotnet(write(t, t.TempDir(), "key", c.text), c.kid, Settings{Alg: "RS256"})
			wantPlan(t, keys, err, c.want)
		})
	}
	for _, text := range []string{`{}`, `<a/>`, `{"Modulus":"%%"}`, `[]`, ``} {
		if _, err := Dotnet(write(t, t.TempDir(), "key", text), "", Settings{}); err == nil {
			t.Errorf("%q was read", text)
		}
	}
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
	file("E5", "2024-01-02T00:00:00Z", "ES256", string(numbers), false, false)
	file("F6", "2023-01-02T00:00:00Z", "RS256", `7`, false, false)
	keys, err := Dotnet(dir, "", Settings{})
	wantPlan(t, keys, err, "B2 refused ", "C3 standby ES256", "A1 standby RS256", "D4 refused ", "E5 refused ", "F6 refused ")
	if err == nil && (!strings.Contains(keys[0].RefuseReason, "ISigningKeyProtector") || !strings.Contains(keys[3].RefuseReason, "pkcs12")) {
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
