package httpapi

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// foreign is a key of another system.
type foreign struct {
	signer   crypto.Signer
	pem, jwk string
}

func newForeign(t testing.TB, signer crypto.Signer, err error) foreign {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := (&jose.JSONWebKey{Key: signer}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return foreign{signer, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), string(jwk)}
}

func foreignEC(t testing.TB) foreign {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return newForeign(t, key, err)
}

func (f foreign) public(t testing.TB) string {
	t.Helper()
	jwk, err := (&jose.JSONWebKey{Key: f.signer.Public()}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(jwk)
}

// body is a request to import; strings that begin with { go in as objects.
func body(members map[string]string) string {
	out := map[string]any{}
	for name, v := range members {
		if out[name] = v; strings.HasPrefix(v, "{") {
			out[name] = json.RawMessage(v)
		}
	}
	b, _ := json.Marshal(out)
	return string(b)
}

func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

const importPath = "/v1/tenants/acme/keys/import"

func TestImportPrivateKeys(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	standby := w.keys("acme", KeyStateStandby)[0]
	f := foreignEC(t)
	var k Key
	a := w.do("POST", importPath, w.root, body(map[string]string{"private_key": f.pem, "alg": "ES256", "kid": "import"})).ok(201, &k)
	if k.KID != "import" || k.State != KeyStateStandby || k.Origin != "imported" || a.Header.Get("Location") != "/v1/tenants/acme/keys/import" {
		t.Errorf("%+v %v", k, a.Header)
	}
	w.do("GET", a.Header.Get("Location"), w.root, "").ok(200, &k) // although that is a path of its own
	w.do("GET", "/v1/tenants/acme/keys/"+standby.KID, w.root, "").ok(200, &standby)
	if standby.State != KeyStateRevoked || *standby.RevocationReason != "superseded" {
		t.Errorf("%+v", standby)
	}
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200)
	w.signs("import", f)

	for name, material := range map[string]func(foreign) string{
		"JWK":           func(f foreign) string { return f.jwk },
		"JWK as string": func(f foreign) string { return " " + f.jwk },
		"PEM":           func(f foreign) string { return f.pem },
	} {
		f := foreignEC(t)
		w.do("POST", importPath, w.root, body(map[string]string{"private_key": material(f), "alg": "ES256", "role": "active"})).ok(201, &k)
		if k.State != KeyStateActive || k.ActivatedAt == nil || len(w.keys("acme", KeyStateActive)) != 1 {
			t.Errorf("%s: %+v", name, k)
		}
		w.signs(k.KID, f)
	}
	var v AuditVerification
	if w.do("GET", "/v1/tenants/acme/audit/verify", w.root, "").ok(200, &v); !v.Intact {
		t.Errorf("%+v", v)
	}
}

// signs demands that a key signs now.
func (w *world) signs(kid string, f foreign) {
	w.t.Helper()
	var signed SignedToken
	w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).ok(200, &signed)
	jws, err := jose.ParseSignedCompact(signed.Token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || signed.KID != kid {
		w.t.Fatalf("%v, signed with %s, want %s", err, signed.KID, kid)
	}
	if _, err := jws.Verify(f.signer.Public()); err != nil {
		w.t.Error(err)
	}
	if jwks := w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200); !strings.Contains(string(jwks.body), `"`+kid+`"`) {
		w.t.Errorf("%s is not published", kid)
	}
}

// Tokens of a system left behind verify, and leave with it.
func TestImportPublicKeys(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	old := newForeign(t, ed, err)
	ec := foreignEC(t)
	set := fmt.Sprintf(`{"keys":[%s,%s]}`, with(old.public(t), "kid", "old", "alg", "EdDSA"), with(ec.public(t), "kid", "old-ec", "use", "sig"))
	token := oldToken(ed, "old", acme.Issuer)
	w.verdict(token, VerifyCodeUnknownKey)
	var list KeyList
	w.do("POST", importPath, w.root, body(map[string]string{"public_key": set, "expires_at": in(time.Hour)})).ok(201, &list)
	if len(list.Items) != 2 || list.Items[0].KID != "old" || list.Items[1].Alg != "ES256" || list.Items[0].State != KeyStateDeprecated {
		t.Fatalf("%+v", list)
	}
	w.verdict(token, "")
	var discovery map[string]any
	w.do("GET", "/t/acme/.well-known/openid-configuration", "", "").ok(200, &discovery)
	if got := fmt.Sprint(discovery["id_token_signing_alg_values_supported"]); got != "[ES256 EdDSA]" {
		t.Errorf("who accepts what discovery says would refuse the other system's tokens: %s", got)
	}
	var k Key
	der, _ := x509.MarshalPKIXPublicKey(foreignEC(t).signer.Public())
	w.do("POST", importPath, w.root, body(map[string]string{
		"public_key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "kid": "one", "expires_at": in(time.Hour),
	})).ok(201, &k)
	if k.KID != "one" || k.Alg != "ES256" {
		t.Errorf("%+v", k)
	}
	w.clock.pass(2 * time.Hour)
	if _, err := w.store.RunDue(t.Context(), operator, 100); err != nil {
		t.Fatal(err)
	}
	w.snapshots.Missed()
	w.verdict(token, VerifyCodeKeyExpired)
}

// verdict demands what verifying a token says; empty: that it is valid, or that
// only its claims are old by now.
func (w *world) verdict(token string, want VerifyCode) {
	w.t.Helper()
	var v VerifyTokenResult
	w.do("POST", "/v1/tenants/acme/tokens/verify", w.root, fmt.Sprintf(`{"token":%q}`, token)).ok(200, &v)
	if got := valueOr(v.Code, ""); got != want || v.Valid != (want == "") {
		w.t.Errorf("%q, want %q", got, want)
	}
}

func oldToken(key ed25519.PrivateKey, kid, issuer string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(fmt.Sprintf(`{"alg":"EdDSA","kid":%q}`, kid))) + "." +
		b64([]byte(fmt.Sprintf(`{"iss":%q,"exp":%d}`, issuer, time.Now().Add(48*time.Hour).Unix())))
	return input + "." + b64(ed25519.Sign(key, []byte(input)))
}

// with adds members to a JWK.
func with(jwk string, members ...string) string {
	for i := 0; i+1 < len(members); i += 2 {
		jwk = strings.TrimSuffix(jwk, "}") + fmt.Sprintf(`,%q:%q}`, members[i], members[i+1])
	}
	return jwk
}

// Whatever is refused changes nothing, says which field, and repeats none of
// the key: not in the answer, not in the log.
func TestRefusedImports(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	f, other := foreignEC(t), foreignEC(t)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	weak := newForeign(t, small, err)
	taken := w.keys("acme", KeyStateActive)[0].KID
	soon := in(time.Hour)
	before := w.state()
	for _, c := range []struct {
		name, body, field string
		code              ProblemCode
	}{
		{"nothing", `{}`, "private_key", ProblemCodeInvalidRequest},
		{"both", body(map[string]string{"private_key": f.jwk, "public_key": f.public(t), "alg": "ES256"}), "public_key", ProblemCodeInvalidRequest},
		{"null", `{"private_key":null,"alg":"ES256"}`, "private_key", ProblemCodeInvalidRequest},
		{"number", `{"private_key":7,"alg":"ES256"}`, "private_key", ProblemCodeInvalidRequest},
		{"no alg", body(map[string]string{"private_key": f.pem}), "alg", ProblemCodeInvalidRequest},
		{"HMAC", body(map[string]string{"private_key": f.pem, "alg": "HS256"}), "alg", ProblemCodeInvalidRequest},
		{"end of a private key", body(map[string]string{"private_key": f.pem, "alg": "ES256", "expires_at": soon}), "expires_at", ProblemCodeInvalidRequest},
		{"role of a public key", body(map[string]string{"public_key": f.public(t), "role": "active", "expires_at": soon}), "role", ProblemCodeInvalidRequest},
		{"unknown role", body(map[string]string{"private_key": f.pem, "alg": "ES256", "role": "boss"}), "role", ProblemCodeInvalidRequest},
		{"no end", body(map[string]string{"public_key": f.public(t)}), "expires_at", ProblemCodeInvalidRequest},
		{"end in the past", body(map[string]string{"public_key": f.public(t), "expires_at": in(-time.Hour)}), "expires_at", ProblemCodeInvalidRequest},
		{"end too far", body(map[string]string{"public_key": f.public(t), "expires_at": in(11 * 365 * 24 * time.Hour)}), "expires_at", ProblemCodeInvalidRequest},
		{"bad kid", body(map[string]string{"private_key": f.pem, "alg": "ES256", "kid": strings.Repeat("a", 257)}), "kid", ProblemCodeInvalidRequest},
		{"control character", body(map[string]string{"private_key": f.pem, "alg": "ES256", "kid": "a\n"}), "kid", ProblemCodeInvalidRequest},
		{"member twice", `{"alg":"ES256","private_key":` + strings.Replace(f.jwk, "{", `{"kty":"EC",`, 1) + `}`, "private_key.kty", ProblemCodeInvalidRequest},
		{"member twice in a string", body(map[string]string{"alg": "ES256", "private_key": " " + strings.Replace(f.jwk, "{", `{"kty":"EC",`, 1)}), "private_key", ProblemCodeInvalidRequest},
		{"encrypted", body(map[string]string{"private_key": strings.ReplaceAll(f.pem, "PRIVATE", "ENCRYPTED PRIVATE"), "alg": "ES256"}), "private_key", ProblemCodeInvalidRequest},
		{"cut off", body(map[string]string{"private_key": f.pem[:100], "alg": "ES256"}), "private_key", ProblemCodeInvalidRequest},
		{"two", body(map[string]string{"private_key": f.pem + other.pem, "alg": "ES256"}), "private_key", ProblemCodeInvalidRequest},
		{"private as public", body(map[string]string{"public_key": f.jwk, "expires_at": soon}), "public_key.d", ProblemCodeInvalidRequest},
		{"weak", body(map[string]string{"private_key": weak.pem, "alg": "RS256"}), "private_key", ProblemCodeInvalidRequest},
		{"wrong kind", body(map[string]string{"private_key": f.pem, "alg": "RS256"}), "private_key", ProblemCodeInvalidRequest},
		{"no policy", body(map[string]string{"private_key": newRSA(t).pem, "alg": "RS256"}), "alg", ProblemCodePolicyViolation},
		{"kid in use", body(map[string]string{"private_key": f.pem, "alg": "ES256", "kid": taken}), "", ProblemCodeConflict},
	} {
		p := w.do("POST", importPath, w.root, c.body).problem(c.code)
		if c.field != "" && (len(p.Errors) == 0 || p.Errors[0].Field != c.field) {
			t.Errorf("%s: %+v", c.name, p)
		}
		if said := fmt.Sprint(p); leaks(said, f, other, weak) {
			t.Errorf("%s repeats the key: %s", c.name, said)
		}
	}
	if after := w.state(); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
	if leaks(w.log.String(), f, other, weak) {
		t.Error("a key is in the log")
	}
}

func newRSA(t testing.TB) foreign {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	return newForeign(t, key, err)
}

// leaks finds the private part of keys in a text, in parts of twelve letters.
func leaks(text string, all ...foreign) bool {
	for _, f := range all {
		var jwk struct{ D string }
		_ = json.Unmarshal([]byte(f.jwk), &jwk)
		secrets := []string{jwk.D, strings.Split(f.pem, "\n")[1][30:]}
		for _, secret := range secrets {
			for i := 0; i+12 <= len(secret); i += 4 {
				if strings.Contains(text, secret[i:i+12]) {
					return true
				}
			}
		}
	}
	return false
}

func TestImportOnce(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	request := body(map[string]string{"private_key": foreignEC(t).pem, "alg": "ES256"})
	var first, again Key
	w.do("POST", importPath, w.root, request, "Idempotency-Key", "once").ok(201, &first)
	before := w.state()
	w.do("POST", importPath, w.root, request, "Idempotency-Key", "once").ok(201, &again)
	w.do("POST", importPath, w.root, body(map[string]string{"private_key": foreignEC(t).pem, "alg": "ES256"}), "Idempotency-Key", "once").problem(ProblemCodeConflict)
	w.do("POST", importPath, w.root, request).problem(ProblemCodeConflict)
	if first.KID != again.KID || w.state() != before {
		t.Errorf("%+v\n%+v", first, again)
	}
}
