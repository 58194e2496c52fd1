package tokens

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/internal/strictjson"
)

func rules() Rules {
	return Rules{
		Issuer: "https://kw.example/t/acme?a&b", Now: time.Unix(1_800_000_000, 999_999_000), Skew: time.Minute,
		DefaultTTL: 15 * time.Minute, MaxTTL: time.Hour,
	}
}

func seconds(n int64) *int64 { return &n }

func TestClaimsOfThePlatform(t *testing.T) {
	for name, c := range map[string]struct {
		req Request
		exp int64
		has string // beyond iss, iat, exp and a jti of its own
	}{
		"nothing asked":         {Request{}, 900, ``},
		"empty":                 {Request{Claims: json.RawMessage(` { } `)}, 900, ``},
		"ttl":                   {Request{TTLSeconds: seconds(3600)}, 3600, ``},
		"exp":                   {Request{Claims: json.RawMessage(`{"exp":1800000001}`)}, 1, ``},
		"exp at the limit":      {Request{Claims: json.RawMessage(`{"exp":1.8000036e9}`)}, 3600, ``},
		"exp and ttl agree":     {Request{Claims: json.RawMessage(`{"exp":1800000060}`), TTLSeconds: seconds(90)}, 60, ``},
		"nbf asked":             {Request{NotBefore: true}, 900, `"nbf":1800000000`},
		"own nbf stays":         {Request{NotBefore: true, Claims: json.RawMessage(`{"nbf":1800000010}`)}, 900, `"nbf":1800000010`},
		"own iss, the same":     {Request{Claims: json.RawMessage(`{"iss":"https://kw.example/t/acme?a&b"}`)}, 900, ``},
		"own iat, nearly":       {Request{Claims: json.RawMessage(`{"iat":1799999940}`)}, 900, ``},
		"the rest, by name":     {Request{Claims: json.RawMessage(`{"sub":"42","aud":["a","b"],"n":12345678901234567890}`)}, 900, `"aud":["a","b"],"n":12345678901234567890,"sub":"42"`},
		"strange names":         {Request{Claims: json.RawMessage(`{"a\"b":1,"é":2,"":3}`)}, 900, `"":3,"a\"b":1,"é":2`},
		"nested, each once":     {Request{Claims: json.RawMessage(`{"a":{"x":1},"b":{"x":1}}`)}, 900, `"a":{"x":1},"b":{"x":1}`},
		"escapes stay as given": {Request{Claims: json.RawMessage(`{"u":"\u003c\/<"}`)}, 900, `"u":"\u003c\/<"`},
	} {
		got, err := rules().Claims(c.req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var own struct{ JTI string }
		_ = json.Unmarshal(got.Payload, &own)
		want := fmt.Sprintf(`{"iss":"https://kw.example/t/acme?a&b","iat":1800000000,"exp":%d,`, 1_800_000_000+c.exp)
		jti := fmt.Sprintf(`"jti":%q`, own.JTI)
		if nbf := `"nbf":1800000000`; c.has == nbf {
			want += nbf + "," + jti
		} else {
			want += strings.TrimSuffix(jti+","+c.has, ",")
		}
		if want += "}"; string(got.Payload) != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got.Payload, want)
		}
		if _, err := uuid.Parse(own.JTI); err != nil {
			t.Errorf("%s: jti %q", name, own.JTI)
		}
		if got.IssuedAt.Unix() != 1_800_000_000 || got.ExpiresAt.Unix() != 1_800_000_000+c.exp || got.IssuedAt.Nanosecond() != 0 {
			t.Errorf("%s: %v to %v", name, got.IssuedAt, got.ExpiresAt)
		}
	}
}

func TestOwnJTIStays(t *testing.T) {
	got, err := rules().Claims(Request{Claims: json.RawMessage(`{"jti":"mine"}`)})
	if err != nil || strings.Count(string(got.Payload), "jti") != 1 || !strings.Contains(string(got.Payload), `"jti":"mine"`) {
		t.Errorf("%s, %v", got.Payload, err)
	}
}

func TestClaimsRefused(t *testing.T) {
	deep := strings.Repeat("[", strictjson.MaxDepth+1) + strings.Repeat("]", strictjson.MaxDepth+1)
	for claims, c := range map[string]struct {
		field string
		rule  error
	}{
		`{"exp":1800003601}`:              {"claims.exp", ErrPolicy},
		`{"exp":1800000000}`:              {"claims.exp", ErrPolicy},
		`{"exp":-1}`:                      {"claims.exp", ErrInvalid},
		`{"exp":1800000060000}`:           {"claims.exp", ErrInvalid},
		`{"exp":1800000060.5}`:            {"claims.exp", ErrInvalid},
		`{"exp":1e999}`:                   {"claims.exp", ErrInvalid},
		`{"exp":"1800000060"}`:            {"claims.exp", ErrInvalid},
		`{"exp":null}`:                    {"claims.exp", ErrInvalid},
		`{"EXP":1800009999}`:              {"claims.EXP", ErrInvalid},
		`{"ſub":"x"}`:                     {"claims.ſub", ErrInvalid},
		`{"iss":"https://evil.example"}`:  {"claims.iss", ErrPolicy},
		`{"iss":1}`:                       {"claims.iss", ErrInvalid},
		`{"iat":1799999939}`:              {"claims.iat", ErrPolicy},
		`{"iat":1800000061}`:              {"claims.iat", ErrPolicy},
		`{"iat":"now"}`:                   {"claims.iat", ErrInvalid},
		`{"nbf":1800000900}`:              {"claims.nbf", ErrInvalid},
		`{"nbf":1800000000000}`:           {"claims.nbf", ErrInvalid},
		`{"jti":""}`:                      {"claims.jti", ErrInvalid},
		`{"jti":7}`:                       {"claims.jti", ErrInvalid},
		`{"sub":7}`:                       {"claims.sub", ErrInvalid},
		`{"aud":{"a":1}}`:                 {"claims.aud", ErrInvalid},
		`{"aud":["a",null]}`:              {"claims.aud", ErrInvalid},
		`{"a":1,"a":1}`:                   {"claims", ErrInvalid},
		`{"exp":1800000001,"\u0065xp":9}`: {"claims", ErrInvalid},
		`{"a":{"b":[{"c":1,"c":2}]}}`:     {"claims", ErrInvalid},
		`{"a":` + deep + `}`:              {"claims", ErrInvalid},
		`[]`:                              {"claims", ErrInvalid},
		`null`:                            {"claims", ErrInvalid},
		`{`:                               {"claims", ErrInvalid},
		`{} {}`:                           {"claims", ErrInvalid},
		"{\"a\":\"\xff\"}":                {"claims", ErrInvalid},
		`{"a":"` + strings.Repeat("x", maxClaims) + `"}`: {"claims", ErrInvalid},
	} {
		refused(t, Request{Claims: json.RawMessage(claims)}, c.field, c.rule)
	}
	refused(t, Request{TTLSeconds: seconds(0)}, "ttl_seconds", ErrInvalid)
	refused(t, Request{TTLSeconds: seconds(-5)}, "ttl_seconds", ErrInvalid)
	refused(t, Request{TTLSeconds: seconds(3601)}, "ttl_seconds", ErrPolicy)
	refused(t, Request{TTLSeconds: seconds(1 << 62)}, "ttl_seconds", ErrPolicy)
	refused(t, Request{TTLSeconds: seconds(60), Claims: json.RawMessage(`{"exp":1800000121}`)}, "claims.exp", ErrInvalid)
}

func refused(t *testing.T, req Request, field string, rule error) {
	t.Helper()
	_, err := rules().Claims(req)
	var claim *ClaimError
	if !errors.As(err, &claim) || claim.Field != field || !errors.Is(err, rule) {
		t.Errorf("%.60s: %v, want %s: %v", req.Claims, err, field, rule)
	}
}

func TestCheckPayload(t *testing.T) {
	for payload, c := range map[string]struct {
		exp  int64
		rule error
	}{
		`hello`:              {0, nil},
		``:                   {0, nil},
		`[1]`:                {0, nil},
		`"exp"`:              {0, nil},
		`{"a":{"exp":1}}`:    {0, nil},
		`{"a":1,"a":2}`:      {0, nil},
		`{"exp":1800000060}`: {1800000060, nil},
		` {"exp":1800003600,"iss":"https://kw.example/t/acme?a&b"}`: {1800003600, nil},
		`{"exp":1800003601}`:                   {0, ErrPolicy},
		`{"exp":1}`:                            {0, ErrPolicy},
		`{"exp":"soon"}`:                       {0, ErrInvalid},
		`{"exp":null}`:                         {0, ErrInvalid},
		`{"exp":1800000060,"iss":"evil"}`:      {0, ErrPolicy},
		`{"exp":1800000060,"exp":18000000600}`: {0, ErrPolicy},
		`{"exp":1800000060,"\u0065xp":9}`:      {0, ErrPolicy},
		`{"exp":1800000060,"EXP":9}`:           {0, ErrInvalid},
		`{"Exp":99999999999}`:                  {0, ErrInvalid},
		"{\"exp\":99999999999,\"a\":\"\xff\"}": {0, ErrPolicy},
		// What lenient parsers take for an object (Node and Python strip a
		// byte order mark, Python reads NaN and UTF-16, Node any depth).
		"\xef\xbb\xbf {\"exp\":99999999999}":                                            {0, ErrPolicy},
		"\xff\xfe{\x00\"\x00e\x00x\x00p\x00\"\x00:\x009\x00}\x00":                       {0, ErrPolicy},
		"\x00{\x00\"\x00e\x00x\x00p\x00\"\x00:\x009\x00}":                               {0, ErrPolicy},
		`{"\u0065xp":99999999999,"a":NaN}`:                                              {0, ErrPolicy},
		`{"exp":9,"a":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`: {0, ErrPolicy},
		`{{ .Explanation`: {0, ErrPolicy},
		`{hello}`:         {0, nil},
	} {
		exp, err := rules().CheckPayload([]byte(payload), "example", Form{})
		if !errors.Is(err, c.rule) {
			t.Errorf("%s: %v, want %v", payload, err, c.rule)
		}
		if err == nil && (exp == nil) != (c.exp == 0) || exp != nil && err == nil && exp.Unix() != c.exp {
			t.Errorf("%s: exp %v, want %d", payload, exp, c.exp)
		}
	}
}

// FuzzClaims: whatever a caller sends, the claims come out as one strict JSON
// object that says of iss, iat and exp what the platform says.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"exp":1800000060}`, `{"a":{"b":[1,"x",null,{"c":-1.5e3}]}}`, `{"iss":"x","iat":1,"nbf":2,"jti":"","aud":[]}`,
		`{"exp":1,"\u0065xp":2}`, `{"\ud800":1,"\udfff":2}`, "{\"\xff\":1}", `{"a\\":"\""}`, `[[[[]]]]`, `{"Exp":1}`,
	} {
		f.Add([]byte(seed), int64(60), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, ttl int64, nbf bool) {
		r := rules()
		got, err := r.Claims(Request{Claims: raw, TTLSeconds: &ttl, NotBefore: nbf})
		if err != nil {
			if claim := (*ClaimError)(nil); !errors.As(err, &claim) {
				t.Fatalf("%v is no *ClaimError", err)
			}
			return
		}
		claims, err := strictjson.ParseObject(got.Payload)
		if err != nil {
			t.Fatalf("%s: %v", got.Payload, err)
		}
		exp, _ := numericDate(claims["exp"])
		iss, _ := unquoteString(claims["iss"])
		if iss != r.Issuer || string(claims["iat"]) != "1800000000" || exp <= r.Now.Unix() || exp > r.Now.Add(r.MaxTTL).Unix() {
			t.Fatalf("%s", got.Payload)
		}
		if err := (Expectation{Now: r.Now, Skew: r.Skew, Issuer: r.Issuer}).checkTimes(claims); err != nil && claims["nbf"] == nil {
			t.Fatalf("not valid when issued: %v: %s", err, got.Payload)
		}
		if at, err := r.CheckPayload(got.Payload, "", Form{}); err != nil || at.Unix() != exp {
			t.Fatalf("refused as a payload: %v", err)
		}
	})
}

func BenchmarkClaims(b *testing.B) {
	req := Request{Claims: json.RawMessage(`{"sub":"user-42","aud":"https://api.example","scope":"read write","roles":["a","b"]}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rules().Claims(req); err != nil {
			b.Fatal(err)
		}
	}
}

// Only rules for development sign what has expired, and it is whole: iat before exp, both
// in the past, and what else the rules demand.
func TestExpiredTokens(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	rules := Rules{Issuer: "https://a.example", Now: now, Skew: time.Minute, DefaultTTL: 15 * time.Minute, MaxTTL: time.Hour}
	for name, req := range map[string]Request{
		"a negative lifetime": {TTLSeconds: new(int64(-3600))},
		"an exp in the past":  {Claims: []byte(`{"exp":1699996400}`)},
		"both":                {Claims: []byte(`{"exp":1699996400}`), TTLSeconds: new(int64(-3600))},
		"with nbf":            {TTLSeconds: new(int64(-3600)), NotBefore: true},
	} {
		rules.Expired = false
		if _, err := rules.Claims(req); err == nil {
			t.Errorf("%s is signed", name)
		}
		rules.Expired = true
		got, err := rules.Claims(req)
		if err != nil || got.ExpiresAt != now.Add(-time.Hour).UTC() || got.IssuedAt != now.Add(-time.Hour-15*time.Minute).UTC() {
			t.Errorf("%s: %v to %v, %v", name, got.IssuedAt, got.ExpiresAt, err)
		}
		var claims struct{ Iat, Exp, Nbf int64 }
		if err := json.Unmarshal(got.Payload, &claims); err != nil || claims.Exp != got.ExpiresAt.Unix() || claims.Iat != got.IssuedAt.Unix() || req.NotBefore != (claims.Nbf == claims.Iat) {
			t.Errorf("%s: %s, %v", name, got.Payload, err)
		}
	}
	for name, req := range map[string]Request{
		"no lifetime":     {TTLSeconds: new(int64(0))},
		"the least":       {TTLSeconds: new(int64(math.MinInt64))},
		"too long":        {TTLSeconds: new(int64(3601))},
		"another issuer":  {TTLSeconds: new(int64(-1)), Claims: []byte(`{"iss":"x"}`)},
		"a contradiction": {TTLSeconds: new(int64(-1)), Claims: []byte(`{"exp":1600000000}`)},
	} {
		if got, err := rules.Claims(req); err == nil {
			t.Errorf("%s is signed: %s", name, got.Payload)
		}
	}
}
