package tokens

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var (
	blockComment  = regexp.MustCompile(`(?s)/\*.*?\*/`)
	lineComment   = regexp.MustCompile(`(?m)(//|#).*$`)
	bareName      = regexp.MustCompile(`([{,]\s*)([A-Za-z_]+)\s*:`)
	trailingComma = regexp.MustCompile(`,\s*([}\]])`)
	hexEscape     = regexp.MustCompile(`\\x([0-9a-fA-F]{2})`)
	noJSONNumber  = regexp.MustCompile(`\b(NaN|-?Infinity|undefined)\b`)
)

// lenient reads an object as the parsers of verifiers do that pass over what is no JSON:
// byte order marks, comments, controls, spaces of Unicode, UTF-16, quotes of either kind,
// names without quotes, commas too many, numbers that are none.
func lenient(payload []byte) (object map[string]json.RawMessage) {
	text := strings.ReplaceAll(string(payload), "\x00", "")
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		text = strings.TrimPrefix(text, mark)
	}
	for _, change := range []func(string) string{
		func(s string) string { return s },
		func(s string) string { return lineComment.ReplaceAllString(blockComment.ReplaceAllString(s, ""), "") },
		func(s string) string {
			return strings.Map(func(r rune) rune {
				if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
					return ' '
				}
				return r
			}, s)
		},
		func(s string) string { return hexEscape.ReplaceAllString(s, `\u00$1`) },
		func(s string) string { return noJSONNumber.ReplaceAllString(s, "0") },
		func(s string) string { return trailingComma.ReplaceAllString(s, "$1") },
		func(s string) string { return bareName.ReplaceAllString(s, `$1"$2":`) },
		func(s string) string { return strings.ReplaceAll(s, "'", `"`) },
	} {
		text = change(text)
		trimmed := strings.TrimSpace(text)
		if !strings.HasPrefix(trimmed, "{") {
			continue
		}
		if json.NewDecoder(strings.NewReader(trimmed)).Decode(&object) == nil && object != nil { // it stops at the end of the object
			return object
		}
	}
	return nil
}

// A payload that is signed without an exp is nothing that a lenient parser takes for a token:
// no object with a registered claim, and under a type of tokens no object at all.
func FuzzCheckPayload(f *testing.F) {
	for _, seed := range []string{
		`hello`, `{"exp":9}`, `{"a":1}`, "\x0b{\"iss\":1}", `/**/{"sub":"x"}`, "\u00a0{\"aud\":1}", `{"e\x78p":1}`, `{'exp':1}`, `{exp:1}`, `{"iss":NaN}`, `{"iss":1,}`, "\xef\xbb\xbf{\"jti\":1}", "#\n{\"iat\":1}", "//\n{\"nbf\":1}",
		"{\x00\"\x00s\x00u\x00b\x00\"\x00:\x001\x00}\x00", `{"a":1} {"iss":1}`, `{"sub":1`, `eyJpc3MiOjF9`, `{"\u0065xp":1}`, `{"a":/*}*/1,"iss":2}`, "{\"iss\"\u2028:1}", `{"EXP":1}`, `{"iss":01}`, "\xef\xbb\xbf{\"\xff\":1,\"role\":\"admin\"}", "/**/{\"\xff\":1}",
	} {
		for _, typ := range []string{"", "example", "JWT", "application/at+jwt"} {
			f.Add([]byte(seed), typ, false)
			f.Add([]byte(seed), typ, true)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte, typ string, unencoded bool) {
		exp, err := rules().CheckPayload(payload, typ, Form{Unencoded: unencoded})
		if err != nil {
			if claim := (*ClaimError)(nil); !errors.As(err, &claim) {
				t.Errorf("%v is no *ClaimError", err)
			}
			return
		}
		if exp != nil {
			if exp.After(rules().Now.Add(rules().MaxTTL)) {
				t.Errorf("%q ends at %v", payload, exp)
			}
			return
		}
		readings := [][]byte{payload}
		if decoded, err := base64.RawURLEncoding.DecodeString(string(payload)); unencoded && err == nil {
			readings = append(readings, decoded)
		}
		for _, reading := range readings {
			object := lenient(reading)
			for name := range object {
				if slices.Contains([]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}, name) {
					t.Errorf("%q of type %q is signed without end, and has %s", payload, typ, name)
				}
			}
			if object != nil && isTokenType(typ) && utf8.Valid(reading) {
				t.Errorf("%q of type %q is signed without end", payload, typ)
			}
		}
	})
}
