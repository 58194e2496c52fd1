package keyfile

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/keystest"
)

// Keys of small order verify signatures that anybody makes, and what is no point of the
// curve verifies none: both are refused, as JWK and as PEM. A point has one encoding.
func TestEd25519KeysThatAreNone(t *testing.T) {
	const rest = "00000000000000000000000000000000000000000000000000000000000000"
	for name, text := range map[string]string{
		"order 1":                   "01" + rest,
		"order 2":                   "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":                   "00" + rest,
		"order 4, negative":         "00" + rest[2:] + "80",
		"order 8":                   "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, another":          "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"no point":                  "02" + rest,
		"minus zero":                "01" + rest[2:] + "80",
		"y of the prime":            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"all ones":                  strings.Repeat("ff", 32),
		"order 1, y beyond a prime": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		key, err := hex.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			t.Fatalf("%s: %d bytes, %v", name, len(key), err)
		}
		jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + keystest.Base64(key) + `"}`
		spki := append([]byte{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00}, key...) // RFC 8410 section 4
		for _, file := range []string{jwk, pemOf(pemPublic, spki)} {
			if _, err := ParsePublic([]byte(file)); err == nil || !strings.Contains(err.Error(), "small order") {
				t.Errorf("%s: %v of %s", name, err, file)
			}
		}
	}
	// What the first of them means: a signature of nobody's, for any message.
	neutral := append([]byte{1}, make([]byte, 31)...)
	if !ed25519.Verify(neutral, []byte("whatever"), append(bytes.Clone(neutral), make([]byte, 32)...)) {
		t.Error("the forged signature does not verify: is the check still needed?")
	}
	for range 50 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil || !soundEd25519(public) {
			t.Errorf("%x: %v", public, err)
		}
	}
}
