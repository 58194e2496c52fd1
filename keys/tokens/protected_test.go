package tokens_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/tokens"
)

// A caller's header is read as it stands; what could direct a verifier to another key or
// another reading of the payload is refused with the member's name.
func TestReadCallerHeader(t *testing.T) {
	long := strings.Repeat("x", 9000)
	for text, want := range map[string]string{ // the field that is refused; empty: none
		`{"alg":"ES256","kid":"a"}`: "",
		` { "typ" : "JWT", "kid" : "\u0061", "alg" : "ES256", "x" : {"jku":1} } `:     "",
		`{"alg":"ES256","kid":"a","b64":false,"crit":["b64"]}`:                        "",
		`{"alg":"ES256","kid":"a","nonce":"n","url":"https://acme.example","cty":""}`: "",
		``:                                      "protected",
		`[]`:                                    "protected",
		`{"alg":"ES256","kid":"a"} x`:           "protected",
		`{"alg":"ES256","kid":"a","kid":"a"}`:   "protected",
		"\xef\xbb\xbf" + `{"alg":"E","kid":""}`: "protected",
		`{"alg":"E","kid":"a","x":"` + long + `"}`: "protected",
		`{"kid":"a"}`:                                                "protected.alg",
		`{"alg":null,"kid":"a"}`:                                     "protected.alg",
		`{"alg":"ES256"}`:                                            "protected.kid",
		`{"alg":"ES256","kid":""}`:                                   "protected.kid",
		`{"alg":"ES256","kid":["a"]}`:                                "protected.kid",
		`{"alg":"ES256","kid":"a","typ":""}`:                         "protected.typ",
		`{"alg":"ES256","kid":"a","typ":null}`:                       "protected.typ",
		`{"alg":"ES256","kid":"a","typ":"application/Keyward-x"}`:    "protected.typ",
		`{"alg":"ES256","kid":"a","typ":"JWK-SET+jwt"}`:              "protected.typ",
		`{"alg":"ES256","kid":"a","b64":false}`:                      "protected.crit",
		`{"alg":"ES256","kid":"a","b64":false,"crit":["b64","b64"]}`: "protected.crit",
		`{"alg":"ES256","kid":"a","b64":false,"crit":[]}`:            "protected.crit",
		`{"alg":"ES256","kid":"a","b64":true,"crit":["b64"]}`:        "protected.b64",
		`{"alg":"ES256","kid":"a","crit":["b64"]}`:                   "protected.b64",
		`{"alg":"ES256","kid":"a","crit":[]}`:                        "protected.b64",
		`{"alg":"ES256","kid":"a","B64":false}`:                      "protected.B64",
		`{"alg":"ES256","kid":"a","Alg":"none"}`:                     "protected.Alg",
		`{"alg":"ES256","kid":"a","jwk":{}}`:                         "protected.jwk",
		`{"alg":"ES256","kid":"a","x5t#s256":""}`:                    "protected.x5t#s256",
		`{"alg":"ES256","kid":"a","zip":"DEF"}`:                      "protected.zip",
		`{"alg":"ES256","kid":"a","":1}`:                             "protected.",
	} {
		encoded := base64.RawURLEncoding.EncodeToString([]byte(text))
		h, err := tokens.ReadCallerHeader(encoded)
		var refused *tokens.ClaimError
		switch {
		case want == "" && (err != nil || h.KID != "a" || h.Alg != "ES256" || string(h.Protected) != encoded || h.Unencoded != strings.Contains(text, "b64")):
			t.Errorf("%s: %+v, %v", text, h, err)
		case want != "" && (!errors.As(err, &refused) || refused.Field != want):
			t.Errorf("%.99s: %v, want %s refused", text, err, want)
		}
	}
	for _, encoded := range []string{"e30=", "e3 0", "!", "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifR"} {
		if _, err := tokens.ReadCallerHeader(encoded); err == nil {
			t.Errorf("%q is a header", encoded)
		}
	}
}
