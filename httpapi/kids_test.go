package httpapi

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// foreignKIDs are kids of the systems that Keyward's users come from, and others that are
// hard to carry.
var foreignKIDs = []string{
	"J4j+I06r0I0vpYnBNucugV8xAPV5/Xv4uYrrpwwSNK0=", "RId+oQm2IhmkUI1wTQUBPQm7jXY=", // AWS Cognito, ForgeRock
	"public:hydra.openid.id-token", "https://vault.azure.net/keys/a/b?v=1#2", "did:key:z6Mk#z6Mk", "urn:ietf:params:x",
	"projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
	".", "..", "../../x", "a/b", "//", "/", "%2F", "%", "%zz", "a%20b", "a b", " a ", "?", "#", ";a=b", "a&b=c", "+", "é", "日本語", "\u2028", "🔑",
	`"`, `\`, `","alg":"none`, "'; --", "{}", "<b>", "=1+1", "-rf", "--help", "rotate", "import", "null", strings.Repeat("x", 256), strings.Repeat("é", 128),
}

// A key of any kid works wherever a key does.
func TestForeignKIDs(t *testing.T) {
	w := newWorld(t)
	acme := w.tenant("acme")
	for _, kid := range foreignKIDs {
		t.Run(kid, func(t *testing.T) {
			w := w.in(t)
			_, key, err := ed25519.GenerateKey(rand.Reader)
			f := newForeign(t, key, err)
			text, _ := json.Marshal(kid)
			jwk := strings.TrimSuffix(f.public(t), "}") + fmt.Sprintf(`,"kid":%s,"alg":"EdDSA"}`, text)
			var k Key
			path := w.do("POST", importPath, w.root, body(map[string]string{"public_key": jwk, "expires_at": in(time.Hour)})).ok(201, &k).Header.Get("Location")
			if k.KID != kid || path != "/v1/tenants/acme/keys/"+url.PathEscape(kid) {
				t.Errorf("imported as %q, at %s", k.KID, path)
			}
			if w.do("GET", path, w.root, "").ok(200, &k); k.KID != kid || !slices.Contains(w.published("acme"), kid) {
				t.Errorf("shown as %q, published %q", k.KID, w.published("acme"))
			}
			for _, form := range []string{mimePEM, mimeDER, mimeJWK} {
				w.do("GET", path, w.root, "", "Accept", form).ok(200)
			}
			w.verdict(oldToken(key, kid, acme.Issuer), "")
			w.do("POST", path+"/revoke", w.root, `{"reason":"superseded"}`).ok(200)
			w.verdict(oldToken(key, kid, acme.Issuer), VerifyCodeKeyRevoked)
			var events AuditEventList
			w.do("GET", "/v1/tenants/acme/audit?kid="+url.QueryEscape(kid), w.root, "").ok(200, &events)
			if len(events.Items) != 2 || *events.Items[0].KID != kid {
				t.Errorf("%d events", len(events.Items))
			}
		})
	}
	var rows KeyList
	for query, n := "limit=1", 0; ; query = "limit=1&cursor=" + *rows.NextCursor {
		rows = KeyList{}
		if w.do("GET", "/v1/tenants/acme/keys?"+query, w.root, "").ok(200, &rows); rows.NextCursor == nil {
			break
		}
		if n++; n > len(foreignKIDs)+2 {
			t.Fatal("the list of keys has no end")
		}
	}
	a := w.do("GET", "/v1/tenants/acme/audit", w.root, "", "Accept", "text/csv").ok(200)
	lines, err := csv.NewReader(strings.NewReader(string(a.body))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if kid := line[8]; kid != "" && strings.ContainsRune("=+@", rune(kid[0])) {
			t.Errorf("a spreadsheet would run %q", kid)
		}
	}
	var v AuditVerification
	if w.do("GET", "/v1/tenants/acme/audit/verify", w.root, "").ok(200, &v); !v.Intact {
		t.Errorf("%+v", v)
	}
}

// A key of any kid signs.
func TestForeignKIDsSign(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	for _, kid := range foreignKIDs {
		f := foreignEC(t)
		w.do("POST", importPath, w.root, string(marshal(t, map[string]any{"private_key": json.RawMessage(f.jwk), "alg": "ES256", "kid": kid, "role": "active"}))).ok(201)
		var signed SignedToken
		w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).ok(200, &signed)
		if signed.KID != kid {
			t.Errorf("%q signs, want %q", signed.KID, kid)
		}
		w.verdict(signed.Token, "")
		w.do("POST", "/v1/tenants/acme/keys/revoke-all", w.root, `{"reason":"superseded"}`).ok(200)
	}
}

// What is no kid is refused, and names no key.
func TestInvalidKIDs(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	for _, kid := range []string{"a\n", "\x00", "\u0085", strings.Repeat("x", 257), strings.Repeat("é", 129)} {
		f := foreignEC(t)
		w.do("POST", importPath, w.root, string(marshal(t, map[string]any{"private_key": json.RawMessage(f.jwk), "alg": "ES256", "kid": kid}))).problem(ProblemCodeInvalidRequest)
	}
	for _, segment := range []string{"%00", "%FF", "a%0A", "%C2%85", strings.Repeat("x", 257)} {
		w.do("GET", "/v1/tenants/acme/keys/"+segment, w.root, "").problem(ProblemCodeKeyNotFound)
		w.do("POST", "/v1/tenants/acme/keys/"+segment+"/revoke", w.root, `{"reason":"superseded"}`).problem(ProblemCodeKeyNotFound)
	}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
