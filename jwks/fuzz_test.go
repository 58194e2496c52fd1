package jwks

import (
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
)

// What the scanner accepts is JSON that package encoding/json accepts too, and
// the members are the same; what it refuses is no JSON, or nests too deep, or
// names something twice, or is not UTF-8.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, ` {"a" : [1, -0.5e+7, "x\n\u00e9", null, true, false, {}] , "b":{"c":[]}} `, `{"a":1,"a":2}`, `{"a":01}`, `[]`, `{"a":"\ud800"}`,
		`{"exp":1763720500,"aud":["a","b"],"iss":"https://x"}`, "{\"\x7f\":1}", `{"a":1,}`, `{,}`, `{"a"}`, `{"a":-}`, `{"a":1.}`, `{"a":tru}`, `{"\u0061":1,"a":2}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := map[string]string{}
		ok := eachMember(text, func(name, value string) { got[name] = value })
		var want map[string]json.RawMessage
		err := json.Unmarshal([]byte(text), &want)
		if !ok {
			return
		}
		if err != nil || len(want) != len(got) {
			t.Fatalf("accepted, but: %v; %d members, want %d", err, len(got), len(want))
		}
		for name, value := range want {
			if strings.TrimSpace(got[name]) != string(value) {
				t.Fatalf("member %q is %q, want %q", name, got[name], value)
			}
		}
	})
}

// Plain objects that encoding/json writes are never refused.
func FuzzOwnJSON(f *testing.F) {
	f.Add("name", "value", 7.5, true)
	f.Fuzz(func(t *testing.T, name, value string, number float64, flag bool) {
		raw, err := json.Marshal(map[string]any{name: value, name + "2": []any{number, flag, nil, map[string]any{"x": value}}})
		if err != nil {
			return
		}
		if !eachMember(string(raw), func(string, string) {}) {
			t.Fatalf("refused %s", raw)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJqb2UifQ.AAAA")
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UifQ.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		c, ok := parseCompact(raw)
		if !ok {
			return
		}
		if strings.Count(raw, ".") != 2 || c.alg == "" || !strings.HasPrefix(raw, c.input+".") {
			t.Fatalf("%q became %+v", raw, c)
		}
		token := &Token{payload: c.payload}
		if missing, err := token.readClaims([]string{"iss"}); err == nil && missing >= 0 && token.Issuer != "" {
			t.Fatalf("iss is both there and missing in %q", c.payload)
		}
		_ = token.Scopes()
	})
}

// No document makes keys that are not public keys for signatures.
func FuzzSet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"EdDSA","kid":"a"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB"},null,7]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		skipped := 0
		s, err := parseSet(t.Context(), raw, 2, 50, func(string, error) { skipped++ })
		if err != nil {
			return
		}
		if len(s.entries)+skipped > s.total || s.total > 50 {
			t.Fatalf("%d entries, %d skipped, of %d", len(s.entries), skipped, s.total)
		}
		for _, e := range s.entries {
			key := s.readyKey(e, instant{})
			if key.PEM() == "" || key.Algorithm() == "" {
				t.Fatalf("a key that cannot be: %+v", key)
			}
		}
	})
}

// Signatures become the ASN.1 that package encoding/asn1 makes of them.
func FuzzDER(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add([]byte(strings.Repeat("\xff", 132)))
	f.Add([]byte("\x00\x00\x80\x01\x7f\xff\x00\x01"))
	f.Fuzz(func(t *testing.T, flat []byte) {
		if len(flat) < 2 || len(flat) > 2*maxCoordinate || len(flat)%2 == 1 {
			return
		}
		half := len(flat) / 2
		want, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(flat[:half]), new(big.Int).SetBytes(flat[half:])})
		if got := appendASN1(nil, flat); err != nil || string(got) != string(want) {
			t.Fatalf("%x became %x, want %x", flat, got, want)
		}
	})
}
