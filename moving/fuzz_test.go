package moving

import (
	"strings"
	"testing"

	"github.com/keyward/keyward/keys"
)

// For any source a reader returns without a panic, and only keys with an
// algorithm, a kid and a public key are planned for import.
func FuzzReaders(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"keys":[]}`, `{"keys":[{}]}`, `{"keys":[null,7,"x"]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA","kid":"a"}]}`,
		`{"keys":[{"kty":"RSA","n":"AA","e":"AQAB","alg":"RS256","kid":"a","key_ops":["sign"]},{"kty":"RSA","kid":"a","alg":"ES256"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":null,"use":"sig"}]}`,
		`{"keys":[{"kty":"oct","k":"AA"}]}`,
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := parsePEM([]byte(text)); err == nil && len(k.Public.algorithms()) == 0 && k.Public.Kty == "" {
			t.Errorf("a key of no kind: %+v", k.Public)
		}
		all, err := parseSet([]byte(text), Settings{}, privateOrPublic)
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("%d letters of error", len(err.Error()))
		}
		for _, s := range Plan(all, both, here) {
			if s.Moves() && (s.Alg == "" || !keys.ValidKID(s.KID) || s.Public.Kty == "") {
				t.Errorf("%+v would move", s)
			}
			if s.Becomes == Standby && s.Private == nil || strings.Contains(s.Why, `"`) {
				t.Errorf("%+v", s)
			}
		}
	})
}
