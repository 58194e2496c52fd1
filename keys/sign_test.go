package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// RFC 6979 appendix A.2.5.
func TestECDSANoncesAreDeterministic(t *testing.T) {
	for _, v := range []struct {
		alg                    jose.SignatureAlgorithm
		curve                  elliptic.Curve
		private, message, r, s string
	}{
		{
			jose.ES256, elliptic.P256(), "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721", "sample",
			"EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716", "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
		},
		{
			jose.ES256, elliptic.P256(), "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721", "test",
			"F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367", "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
		},
	} {
		d, err := hex.DecodeString(v.private)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ecdsa.ParseRawPrivateKey(v.curve, d)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPrivate(v.alg, key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Sign([]byte(v.message))
		if want := strings.ToLower(v.r + v.s); err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s %q: %x, %v, not %s", v.alg, v.message, got, err, want)
		}
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.ES384, jose.ES512} {
		p := keyFor(t, alg)
		one, err := p.Sign([]byte("the same"))
		two, worse := p.Sign([]byte("the same"))
		if err != nil || worse != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: %x and %x, %v %v", alg, one, two, err, worse)
		}
	}
}

// keyFor makes one key per algorithm for the whole test run: RSA is slow.
func keyFor(t testing.TB, alg jose.SignatureAlgorithm) Private {
	t.Helper()
	testKeys.Lock()
	defer testKeys.Unlock()
	slot := alg
	if KeyType(alg) == "RSA" {
		slot = "RSA"
	}
	if testKeys.made[slot] == nil {
		p, err := Generate(alg, 0)
		if err != nil {
			t.Fatal(err)
		}
		testKeys.made[slot] = func() Private { return p }
	}
	p, err := NewPrivate(alg, testKeys.made[slot]().key())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var testKeys = struct {
	sync.Mutex
	made map[jose.SignatureAlgorithm]func() Private
}{made: map[jose.SignatureAlgorithm]func() Private{}}
