package moving

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// becomes plans the import of a set and returns what happens to each key.
func becomes(t *testing.T, set string, target Target) (all []string, steps []Step) {
	t.Helper()
	keys, err := Hydra(t.Context(), write(t, t.TempDir(), "set.json", set), nil, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	steps = Plan(keys, target, here)
	for _, s := range steps {
		all = append(all, s.KID+" "+s.Becomes)
	}
	return all, steps
}

func edited(t *testing.T, jwk string, changes map[string]any) string {
	t.Helper()
	members := map[string]any{}
	if err := json.Unmarshal([]byte(jwk), &members); err != nil {
		t.Fatal(err)
	}
	for name, v := range changes {
		if members[name] = v; v == nil {
			delete(members, name)
		}
	}
	text, _ := json.Marshal(members)
	return string(text)
}

// What the import would refuse, the plan refuses.
func TestPlanRefusesWhatTheImportRefuses(t *testing.T) {
	ec, rs := jwkText(t, ecKey(t).Public(), "k", "ES256", "sig"), jwkText(t, rsaKey().Public(), "k", "RS256", "sig")
	number := func(n *big.Int) string { return b64(n.Bytes()) }
	n := rsaKey().N
	for name, jwk := range map[string]string{
		"RSA 1024":         edited(t, rs, map[string]any{"n": number(new(big.Int).SetBit(new(big.Int).Rsh(n, 1024), 0, 1))}),
		"RSA 4097":         edited(t, rs, map[string]any{"n": number(new(big.Int).SetBit(new(big.Int).Lsh(n, 2049), 0, 1))}),
		"e = 3":            edited(t, rs, map[string]any{"e": "Aw"}),
		"even e":           edited(t, rs, map[string]any{"e": "AQAC"}),
		"empty n":          edited(t, rs, map[string]any{"n": ""}),
		"no n":             edited(t, rs, map[string]any{"n": nil}),
		"padded":           edited(t, ec, map[string]any{"x": base64.URLEncoding.EncodeToString(make([]byte, 32))}),
		"off the curve":    edited(t, ec, map[string]any{"x": b64(make([]byte, 32))}),
		"private only d":   edited(t, rs, map[string]any{"d": b64(rsaKey().D.Bytes())}),
		"short OKP":        `{"kty":"OKP","crv":"Ed25519","x":"AAAA","kid":"k"}`,
		"private EC alone": edited(t, ec, map[string]any{"d": b64(make([]byte, 31))}),
	} {
		t.Run(name, func(t *testing.T) {
			if got, steps := becomes(t, `{"keys":[`+jwk+`]}`, both); got[0] != "k refused" || steps[0].Why == "" {
				t.Errorf("%s: %q", got, steps[0].Why)
			}
		})
	}
}

// What may be a key of ours with a label missing or misspelled is refused; a stranger is
// left behind, and the plan says what it is.
func TestPlanTellsStrangersFromMislabelledKeys(t *testing.T) {
	ec, rs := jwkText(t, ecKey(t).Public(), "k", "ES256", "sig"), jwkText(t, rsaKey().Public(), "k", "RS256", "sig")
	for _, c := range []struct {
		jwk     string
		members map[string]any
		becomes string
		why     string
	}{
		{rs, map[string]any{"kty": nil}, "refused", "its kty must be"},
		{rs, map[string]any{"kty": ""}, "refused", "its kty must be"},
		{rs, map[string]any{"kty": "rsa"}, "refused", "its kty must be"},
		{rs, map[string]any{"kty": "RSA "}, "refused", "its kty must be"},
		{ec, map[string]any{"kty": "ec"}, "refused", "its kty must be"},
		{ec, map[string]any{"crv": nil}, "refused", "its crv must be"},
		{ec, map[string]any{"crv": "p256"}, "refused", "its crv must be"},
		{ec, map[string]any{"crv": "prime256v1"}, "refused", "its crv must be"},
		{ec, map[string]any{"kty": "OKP", "crv": "ed25519"}, "refused", "its crv must be"},
		{rs, map[string]any{"use": "SIG"}, "refused", `its use must be sig, not "SIG"`},
		{rs, map[string]any{"use": "tls"}, "left", `has the use "tls"`},
		{rs, map[string]any{"use": "enc"}, "left", "is for encryption"},
		{rs, map[string]any{"alg": "RSA-OAEP-256"}, "left", "is for encryption"},
		{rs, map[string]any{"key_ops": []string{"deriveKey"}}, "left", "key_ops"},
		{rs, map[string]any{"kty": "oct"}, "left", "is a shared secret"},
		{rs, map[string]any{"kty": "LMS"}, "left", "has a kty"},
		{rs, map[string]any{"revoked": map[string]any{"revoked_at": 1, "reason": "compromised"}}, "left", "is revoked at its issuer"},
		{rs, map[string]any{"revoked": true, "kty": "rsa"}, "left", "is revoked at its issuer"},
		{rs, map[string]any{"exp": noon.Unix()}, "left", "has expired at its issuer: 2026-01-02T12:00:00Z"},
		{rs, map[string]any{"exp": float64(noon.Unix()) + 60.5, "revoked": false}, "deprecated", "until its expiry at the source"},
		{rs, map[string]any{"exp": "never", "revoked": nil}, "deprecated", "for 2 days"},
		{rs, map[string]any{"exp": 0}, "deprecated", "for 2 days"},
		{ec, map[string]any{"crv": "secp256k1"}, "left", "has a crv"},
		{ec, map[string]any{"kty": "OKP", "crv": "Ed448"}, "left", "has a crv"},
	} {
		got, steps := becomes(t, `{"keys":[`+edited(t, c.jwk, c.members)+`]}`, both)
		if got[0] != "k "+c.becomes || !strings.Contains(steps[0].Why, c.why) {
			t.Errorf("%v: %q, because it %q; want %s, %q", c.members, got, steps[0].Why, c.becomes, c.why)
		}
	}
	for _, jwk := range []string{edited(t, rs, map[string]any{"kty": "RSA-HSM"}), edited(t, ec, map[string]any{"kty": "EC-HSM"})} { // of Azure Key Vault
		if got, steps := becomes(t, `{"keys":[`+jwk+`]}`, both); got[0] != "k deprecated" {
			t.Errorf("%q, because it %q", got, steps[0].Why)
		}
	}
	// Keys without a kid and a thumbprint are told apart by their places.
	if got, _ := becomes(t, `{"keys":[{"kty":"oct"},{},null,7]}`, both); !slices.Equal(got, []string{"keys[0] left", "keys[1] refused", "keys[2] refused", "keys[3] refused"}) {
		t.Errorf("%q", got)
	}
}

// Nothing is left behind in silence, and nothing that says nothing is refused.
func TestPlanOfTwofoldKIDs(t *testing.T) {
	one, other := jwkText(t, ecKey(t).Public(), "k", "ES256", "sig"), jwkText(t, ecKey(t).Public(), "k", "ES256", "sig")
	rs := jwkText(t, rsaKey().Public(), "k", "RS256", "sig")
	for name, c := range map[string]struct {
		keys []string
		want []string
	}{
		"another key":       {[]string{one, other}, []string{"k refused", "k refused"}},
		"the same key":      {[]string{one, one}, []string{"k deprecated", "k left"}},
		"another algorithm": {[]string{rs, edited(t, rs, map[string]any{"alg": "RS512"})}, []string{"k deprecated", "k left"}},
		"empty lists":       {[]string{edited(t, rs, map[string]any{"key_ops": []string{}, "oth": []string{}, "x5c": []string{}, "x5t": nil})}, []string{"k deprecated"}},
	} {
		if got, _ := becomes(t, `{"keys":[`+strings.Join(c.keys, ",")+`]}`, both); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A pair of Hydra 1 becomes one key under the kid that its tokens name.
func TestHydraPairs(t *testing.T) {
	key := rsaKey()
	set := `{"keys":[` + jwkText(t, key, "private:x", "RS256", "sig") + `,` + jwkText(t, key.Public(), "public:x", "RS256", "sig") + `]}`
	if got, _ := becomes(t, set, both); !slices.Equal(got, []string{"public:x standby", "public:x left"}) {
		t.Errorf("%q", got)
	}
	for set, want := range map[string]string{
		set: "public:x", `{"keys":[` + jwkText(t, key, "private:x", "RS256", "sig") + `]}`: "private:x",
		strings.Replace(set, "public:x", "public:y", 1): "private:x",
	} {
		if keys, err := JWKFile(write(t, t.TempDir(), "set.json", set), Settings{}); err != nil || keys[0].KID != want {
			t.Errorf("jwk-file: %v, %v, want %s", keys, err, want)
		}
	}
}

// Leading zeros, there or not, make no other key: a plan that is run again skips it.
func TestPlanSkipsKeysWithLeadingZeros(t *testing.T) {
	key := rsaKey().Public().(*rsa.PublicKey)
	rs := edited(t, jwkText(t, key, "k", "RS256", "sig"), map[string]any{"n": b64(append([]byte{0}, key.N.Bytes()...))})
	known := Known{KID: "k", Alg: "RS256", State: "deprecated", Thumbprint: public("k", "RS256").Public.Thumbprint()}
	if got, _ := becomes(t, `{"keys":[`+rs+`]}`, Target{Keys: []Known{known}}); got[0] != "k there" {
		t.Errorf("%q", got)
	}
}

// A private key that has expired at its source does not sign here.
func TestExpiredKeysDoNotSign(t *testing.T) {
	past := edited(t, jwkText(t, rsaKey(), "past", "RS256", "sig"), map[string]any{"exp": noon.Unix()})
	future := edited(t, jwkText(t, rsaKey(), "future", "RS256", "sig"), map[string]any{"exp": noon.Unix() + 1})
	if got, _ := becomes(t, `{"keys":[`+past+`,`+future+`]}`, both); !slices.Equal(got, []string{"past left", "future standby"}) {
		t.Errorf("%q", got)
	}
}

// PEM that openssl writes and Keyward does not take says what it is and what to do.
func TestPEMOfOtherKinds(t *testing.T) {
	for name, why := range map[string]string{
		"explicit-sec1.pem": "named_curve", "explicit-pkcs8.pem": "named_curve", "explicit.pub.pem": "named_curve", "secp256k1.pem": "P-256, P-384 or P-521",
		"nopass.p12": "import-from pkcs12", "encrypted.pem": "openssl pkey",
	} {
		if keys, err := OAuth2Server(filepath.Join("testdata/formats", name), Settings{}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
}

// Files of Windows tools, and PEM that lost its lines.
func TestForeignTexts(t *testing.T) {
	set := `{"keys":[` + jwkText(t, ecKey(t).Public(), "k", "ES256", "sig") + `]}`
	utf16 := func(s string) string {
		out := "\xff\xfe"
		for _, c := range s {
			out += string([]byte{byte(c), 0})
		}
		return out
	}
	for _, text := range []string{"\ufeff" + set, utf16(set)} {
		if got, _ := becomes(t, text, both); got[0] != "k deprecated" {
			t.Errorf("%q", got)
		}
	}
	pem := privatePEM(t, rsaKey())
	for _, text := range []string{
		"\ufeff" + pem, utf16(pem), strings.ReplaceAll(pem, "\n", "\r\n"), strings.ReplaceAll(pem, "\n", " "), strings.ReplaceAll(pem, "\n", ""),
		"    " + strings.ReplaceAll(pem, "\n", "\n    "), strings.ReplaceAll(pem, "\n", "\n\u00a0\u200b"),
		strings.ReplaceAll(pem, "\n", `\n`), `KEY="` + strings.ReplaceAll(pem, "\n", `\r\n`) + `"`, strings.ReplaceAll(strings.ReplaceAll(pem, "\n", `\n`), "/", `\/`),
		"# what -----BEGIN means\n" + pem,
	} {
		keys, err := OAuth2Server(write(t, t.TempDir(), "key.pem", text), Settings{})
		if err != nil {
			t.Errorf("%.60q: %v", text, err)
			continue
		}
		if s := Plan(keys, both, here); s[0].Becomes != Standby {
			t.Errorf("%.60q: %+v", text, s[0])
		}
	}
}

// PEM of which a part is not read is refused as a whole, with the reason.
func TestPEMThatLosesNoKey(t *testing.T) {
	private, public, other := privatePEM(t, rsaKey()), publicPEM(t, rsaKey()), publicPEM(t, ecKey(t))
	legacy := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	broken := strings.Replace(private, "-----END", "----END", 1)
	for name, test := range map[string]struct{ text, why string }{
		"private and another public":     {private + other, "a public key that is not its own"},
		"two public":                     {public + other, "several public keys"},
		"private and two public":         {private + public + public, "several keys"},
		"one broken":                     {public + broken, "a line is broken"},
		"broken":                         {broken, "a line is broken"},
		"encrypted as of old":            {legacy, "openssl pkey"},
		"encrypted as of old, one line":  {strings.ReplaceAll(legacy, "\n", " "), "openssl pkey"},
		"encrypted as of old, indented":  {"  " + strings.ReplaceAll(legacy, "\n", "\n  "), "openssl pkey"},
		"encrypted as of old, escaped":   {strings.ReplaceAll(legacy, "\n", `\n`), "openssl pkey"},
		"encrypted as of old, and a key": {public + legacy, "openssl pkey"},
	} {
		path := write(t, t.TempDir(), "key.pem", test.text)
		for reader, read := range map[string]func() ([]Key, error){
			"oauth2-server": func() ([]Key, error) { return OAuth2Server(path, Settings{}) },
			"dotnet":        func() ([]Key, error) { return Dotnet(path, "", Settings{}) },
		} {
			if keys, err := read(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), test.why) {
				t.Errorf("%s by %s: %v, %v", name, reader, keys, err)
			}
		}
	}
}
