package tokens

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keystest"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// signedBy signs header and payload as they are given.
func signedBy(t testing.TB, p keys.Private, header, payload string) string {
	t.Helper()
	token, err := Sign(p, Protected(keystest.Base64([]byte(header))), []byte(payload), Form{})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// published is a tenant with one key per algorithm, by kid, and some that are
// no longer published.
func published(t testing.TB) map[string]VerificationKey {
	t.Helper()
	tenant := map[string]VerificationKey{}
	for _, alg := range keys.Algorithms() {
		pub := keystest.PrivateKey(t, alg).Public()
		jwk, err := keys.PublicJWK(pub, alg, string(alg))
		if err != nil {
			t.Fatal(err)
		}
		tenant[string(alg)] = VerificationKey{Key: keys.Key{KID: string(alg), Alg: alg, State: keys.Active, PublicJWK: jwk}}
	}
	gone := tenant["ES256"]
	gone.State = keys.Expired
	tenant["expired"] = gone
	gone.State, gone.PublicJWK = keys.Purged, nil
	tenant["purged"] = gone
	gone.RevokedAt = &t0
	tenant["purged-revoked"] = gone
	gone = tenant["ES256"]
	gone.State, gone.RevokedAt = keys.Revoked, &t0
	tenant["revoked"] = gone
	gone = tenant["ES256"]
	gone.State = keys.Deprecated
	tenant["deprecated"] = gone
	return tenant
}

func in(tenant map[string]VerificationKey) Finder {
	return func(kid string, _ jose.SignatureAlgorithm) (VerificationKey, bool, error) {
		k, ok := tenant[kid]
		return k, ok, nil
	}
}

var expectation = Expectation{Now: time.Unix(1_800_000_000, 500_000_000), Skew: time.Minute, Issuer: "https://i"}

const goodClaims = `{"iss":"https://i","exp":1800000900,"iat":1800000000,"aud":["a","b"]}`

func TestVerifyEveryAlgorithm(t *testing.T) {
	tenant := published(t)
	for _, alg := range keys.Algorithms() {
		header := fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, alg)
		token := signedBy(t, keystest.PrivateKey(t, alg), header, goodClaims)
		v, err := Verify(token, expectation, in(tenant))
		if err != nil || v.KID != string(alg) || v.State != keys.Active || string(v.Claims) != goodClaims || string(v.Header) != header {
			t.Errorf("%s: %+v, %v", alg, v, err)
		}
		for _, other := range keys.Algorithms() {
			if other == alg {
				continue
			}
			// the same key, were it known by another algorithm
			forged := signedBy(t, keystest.PrivateKey(t, alg), fmt.Sprintf(`{"alg":%q,"kid":%q}`, other, alg), goodClaims)
			code(t, fmt.Sprintf("%s as %s", other, alg), forged, expectation, tenant, CodeAlgorithmNotAllowed)
		}
		flipped := []byte(token)
		at := len(flipped) - 20
		flipped[at] = map[bool]byte{true: 'B', false: 'A'}[flipped[at] == 'A']
		code(t, string(alg)+" flipped", string(flipped), expectation, tenant, CodeBadSignature)
	}
}

func code(t *testing.T, name, token string, e Expectation, tenant map[string]VerificationKey, want Code) Verdict {
	t.Helper()
	v, err := Verify(token, e, in(tenant))
	var refusal *VerifyError
	if want == "" && err == nil {
		return v
	}
	if !errors.As(err, &refusal) || refusal.Code != want {
		t.Errorf("%s: %v, want %q", name, err, want)
	}
	return v
}

func TestVerifyCodesOfTheHeader(t *testing.T) {
	tenant, p := published(t), keystest.PrivateKey(t, jose.ES256)
	for header, want := range map[string]Code{
		`{"alg":"ES256","kid":"ES256"}`:                               "",
		`{"alg":"ES256","kid":"deprecated","typ":"at+jwt"}`:           "",
		`{"alg":"ES256","kid":"ES256","jwk":{},"jku":"https://evil"}`: "",
		`{"alg":"ES256","kid":"ES256","b64":true}`:                    "",
		`{"alg":"none","kid":"ES256"}`:                                CodeAlgorithmNotAllowed,
		`{"alg":"none"}`:                                              CodeAlgorithmNotAllowed,
		`{"alg":"HS256","kid":"ES256"}`:                               CodeAlgorithmNotAllowed,
		`{"alg":"es256","kid":"ES256"}`:                               CodeAlgorithmNotAllowed,
		`{"alg":"RS256","kid":"ES256"}`:                               CodeAlgorithmNotAllowed,
		`{"alg":"ES256"}`:                                             CodeUnknownKey,
		`{"alg":"ES256","kid":""}`:                                    CodeUnknownKey,
		`{"alg":"ES256","kid":"' OR 1=1"}`:                            CodeUnknownKey,
		`{"alg":"ES256","kid":"nobody"}`:                              CodeUnknownKey,
		`{"alg":"ES256","kid":"revoked"}`:                             CodeKeyRevoked,
		`{"alg":"ES256","kid":"purged-revoked"}`:                      CodeKeyRevoked,
		`{"alg":"ES256","kid":"expired"}`:                             CodeKeyExpired,
		`{"alg":"ES256","kid":"purged"}`:                              CodeKeyExpired,
		`{"alg":"ES256","kid":"ES256","crit":["exp"],"exp":1}`:        CodeUnknownCriticalHeader,
		`{"alg":"ES256","kid":"ES256","crit":["b64"],"b64":false}`:    CodeUnknownCriticalHeader,
		`{"alg":"ES256","kid":"ES256","b64":false}`:                   CodeUnknownCriticalHeader,
		`{"alg":"ES256","kid":"ES256","crit":[]}`:                     CodeMalformed,
		`{"alg":"ES256","kid":"ES256","crit":"b64"}`:                  CodeMalformed,
		`{"alg":"ES256","kid":"ES256","crit":[1]}`:                    CodeMalformed,
		`{"alg":"ES256","kid":"ES256","kid":"ES256"}`:                 CodeMalformed,
		`{"alg":"none","\u0061lg":"ES256","kid":"ES256"}`:             CodeMalformed,
		`{"alg":"ES256","kid":7}`:                                     CodeMalformed,
		`{"alg":null,"kid":"ES256"}`:                                  CodeMalformed,
		`{"alg":"ES256","kid":"ES256","typ":[]}`:                      CodeMalformed,
		`{"kid":"ES256"}`:                                             CodeMalformed,
		`{"ALG":"ES256","kid":"ES256"}`:                               CodeMalformed,
		`["ES256"]`:                                                   CodeMalformed,
		`{"alg":"ES256","kid":"ES256"`:                                CodeMalformed,
	} {
		code(t, header, signedBy(t, p, header, goodClaims), expectation, tenant, want)
	}
}

func TestVerifyCodesOfTheClaims(t *testing.T) {
	tenant, p := published(t), keystest.PrivateKey(t, jose.ES256)
	asked := expectation
	asked.Audience, asked.Type = "b", "AT+JWT"
	later := time.Unix(1_800_000_000, 1000)
	revoked := expectation
	revoked.NotBefore = &later
	for _, c := range []struct {
		claims string
		e      Expectation
		want   Code
	}{
		{goodClaims, expectation, ""},
		{goodClaims, asked, ""},
		{`{"iss":"https://i","exp":1800000900,"aud":"b"}`, asked, ""},
		{`{"iss":"https://i","exp":1799999941}`, expectation, ""},
		{`{"iss":"https://i","exp":1799999940}`, expectation, CodeExpired},
		{`{"iss":"https://i","exp":-5e3}`, expectation, CodeExpired},
		{`{"iss":"https://i","exp":1800000900,"nbf":1800000060}`, expectation, ""},
		{`{"iss":"https://i","exp":1800000900,"nbf":1800000061}`, expectation, CodeNotYetValid},
		{`{"iss":"https://i","exp":1800000900,"iat":1800000061}`, expectation, CodeNotYetValid},
		{goodClaims, revoked, CodeExpired},
		{`{"iss":"https://i","exp":1800000900,"iat":1800000001}`, revoked, ""},
		{`{"iss":"https://i","exp":1800000900}`, revoked, CodeExpired},
		{`{"iss":"https://I","exp":1800000900}`, expectation, CodeWrongIssuer},
		{`{"iss":["https://i"],"exp":1800000900}`, expectation, CodeWrongIssuer},
		{`{"exp":1800000900}`, expectation, CodeWrongIssuer},
		{`{"iss":"https://i","exp":1800000900,"aud":["c","B"]}`, asked, CodeWrongAudience},
		{`{"iss":"https://i","exp":1800000900}`, asked, CodeWrongAudience},
		{`{"iss":"https://i","exp":1800000900,"aud":7}`, expectation, CodeMalformed},
		{`{"iss":"https://i"}`, expectation, CodeMalformed},
		{`{"iss":"https://i","exp":"1800000900"}`, expectation, CodeMalformed},
		{`{"iss":"https://i","exp":1800000900,"nbf":null}`, expectation, CodeMalformed},
		{`{"iss":"https://i","exp":1800000900,"iss":"https://i"}`, expectation, CodeMalformed},
		{`not JSON`, expectation, CodeMalformed},
	} {
		code(t, c.claims, signedBy(t, p, `{"alg":"ES256","kid":"ES256","typ":"at+jwt"}`, c.claims), c.e, tenant, c.want)
	}
}

func TestVerifyType(t *testing.T) {
	for _, c := range []struct {
		typ, asked string
		same       bool
	}{
		{"JWT", "jwt", true},
		{"at+jwt", "application/at+jwt", true},
		{"Application/AT+jwt", "at+JWT", true},
		{"", "", true},
		{"x", "", true},
		{"", "JWT", false},
		{"at+jwt", "JWT", false},
		{"text/jwt", "jwt", false},
	} {
		err := Expectation{Type: c.asked}.checkType(&unverified{typ: c.typ})
		if (err == nil) != c.same {
			t.Errorf("%q for %q: %v", c.typ, c.asked, err)
		}
	}
}

func TestVerifyMalformed(t *testing.T) {
	tenant := published(t)
	good := signedBy(t, keystest.PrivateKey(t, jose.ES256), `{"alg":"ES256","kid":"ES256"}`, goodClaims)
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"empty": "", "dots": "..", "two parts": parts[0] + "." + parts[1], "four parts": good + ".",
		"padding":       parts[0] + "." + parts[1] + "." + parts[2] + "==",
		"line break":    parts[0] + "." + parts[1] + "\n." + parts[2],
		"space":         " " + good,
		"base64":        parts[0] + "." + parts[1] + "." + strings.Repeat("+/", 43),
		"stray bits":    parts[0] + "." + parts[1] + "." + parts[2][:85] + "B",
		"JSON":          `{"payload":"` + parts[1] + `"}`,
		"five of a JWE": "a.b.c.d.e",
		"too long":      parts[0] + "." + strings.Repeat("A", maxToken) + "." + parts[2],
	} {
		code(t, name, token, expectation, tenant, CodeMalformed)
	}
	unsigned := keystest.Base64([]byte(`{"alg":"none","kid":"ES256"}`)) + "." + parts[1] + "."
	code(t, "unsigned", unsigned, expectation, tenant, CodeAlgorithmNotAllowed)
	code(t, "signature cut off", parts[0]+"."+parts[1]+".", expectation, tenant, CodeBadSignature)
	code(t, "signature of nulls", parts[0]+"."+parts[1]+"."+strings.Repeat("A", 86), expectation, tenant, CodeBadSignature)
}

func TestVerifyPassesOnWhatFindFailsWith(t *testing.T) {
	down := errors.New("down")
	token := signedBy(t, keystest.PrivateKey(t, jose.ES256), `{"alg":"ES256","kid":"ES256"}`, goodClaims)
	_, err := Verify(token, expectation, func(string, jose.SignatureAlgorithm) (VerificationKey, bool, error) {
		return VerificationKey{}, false, down
	})
	if !errors.Is(err, down) {
		t.Error(err)
	}
}

func TestVerdictSaysWhatIsKnown(t *testing.T) {
	tenant, p := published(t), keystest.PrivateKey(t, jose.ES256)
	v := code(t, "revoked", signedBy(t, p, `{"alg":"ES256","kid":"revoked"}`, goodClaims), expectation, tenant, CodeKeyRevoked)
	if v.KID != "revoked" || v.State != keys.Revoked || v.Claims != nil || v.Header == nil {
		t.Errorf("%+v", v)
	}
	v = code(t, "expired", signedBy(t, p, `{"alg":"ES256","kid":"ES256"}`, `{"iss":"https://i","exp":1}`), expectation, tenant, CodeExpired)
	if v.Claims == nil {
		t.Error("the claims of an expired token are known, its signature was right")
	}
}

// FuzzParseToken: nothing panics, and what parses is exactly one way to write
// what was parsed.
// The largest claims and header that are signed are verified too.
func TestLargestTokenIsVerified(t *testing.T) {
	alg := jose.ES512
	header := fmt.Sprintf(`{"alg":%q,"kid":%q,"x":%q}`, alg, alg, strings.Repeat("x", maxHeader-50))
	claims := goodClaims[:len(goodClaims)-1] + `,"x":"` + strings.Repeat("x", maxClaims-len(goodClaims)-10) + `"}`
	token := signedBy(t, keystest.PrivateKey(t, alg), header, claims)
	if _, err := Verify(token, expectation, in(published(t))); err != nil {
		t.Errorf("a token of %d bytes: %v", len(token), err)
	}
}

func FuzzParseToken(f *testing.F) {
	header := keystest.Base64([]byte(`{"alg":"ES256","kid":"k"}`))
	for _, seed := range []string{
		"", "..", header + ".e30.AA", header + ".e30.", header + ".e3\n0.AA", header + ".e30.AB", "e30.e30.AA",
		keystest.Base64([]byte(`{"alg":"none","crit":["b64"],"b64":false}`)) + ".x.", keystest.Base64([]byte(`{"alg":"A","\u0061lg":"B"}`)) + "..",
		keystest.Base64([]byte(`{"alg":"ES256","x":[[{"y":{}}],"\"",-1e5,null ] }`)) + ".e30.AA",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		u, err := parseToken(token)
		if err != nil {
			if refusal := (*VerifyError)(nil); !errors.As(err, &refusal) {
				t.Fatalf("%v is no *VerifyError", err)
			}
			return
		}
		if again := keystest.Base64(u.rawHeader) + "." + keystest.Base64(u.payload) + "." + keystest.Base64(u.signature); again != token {
			t.Fatalf("%q is another way to write %q", token, again)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	tenant := published(b)
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, keys.Ed25519, jose.RS256} {
		token := signedBy(b, keystest.PrivateKey(b, alg), fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, alg), goodClaims)
		k := tenant[string(alg)]
		k.Public = keystest.PrivateKey(b, alg).Public()
		tenant[string(alg)] = k
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Verify(token, expectation, in(tenant)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
