package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

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

// ed25519Verifier verifies the label that go-jose has no name for.
type ed25519Verifier struct{ pub crypto.PublicKey }

func (v ed25519Verifier) VerifyPayload(payload, signature []byte, alg jose.SignatureAlgorithm) error {
	if alg != Ed25519 || !ed25519.Verify(v.pub.(ed25519.PublicKey), payload, signature) {
		return errors.New("no Ed25519 signature")
	}
	return nil
}

func TestGoJoseVerifiesEveryAlgorithm(t *testing.T) {
	payload := []byte(`{"sub":"42"}`)
	for _, alg := range Algorithms() {
		p := keyFor(t, alg)
		head, err := Header{KID: "k.1", Alg: alg, Typ: "JWT", Extra: map[string]json.RawMessage{"cty": json.RawMessage(`"x"`)}}.Protect(Form{})
		if err != nil {
			t.Fatal(err)
		}
		for range 8 { // ECDSA: now and then R or S is short
			token, err := Sign(p, head, payload, Form{})
			if err != nil {
				t.Fatal(err)
			}
			foreign(t, alg, p, token, payload, nil)
		}
		detached, err := Sign(p, head, payload, Form{Detached: true})
		if err != nil || !strings.Contains(detached, "..") {
			t.Fatalf("%s: %q, %v", alg, detached, err)
		}
		foreign(t, alg, p, detached, payload, payload)
	}
}

// foreign has go-jose verify a compact JWS, with its payload if detached.
func foreign(t *testing.T, alg jose.SignatureAlgorithm, p Private, token string, payload, detached []byte) {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
	if detached != nil {
		jws, err = jose.ParseDetached(token, detached, []jose.SignatureAlgorithm{alg})
	}
	if err != nil {
		t.Fatalf("%s: %v", alg, err)
	}
	var key any = p.Public()
	if alg == Ed25519 {
		key = ed25519Verifier{p.Public()}
	}
	got := detached
	if detached != nil {
		err = jws.DetachedVerify(detached, key)
	} else {
		got, err = jws.Verify(key)
	}
	if err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("%s: %q, %v", alg, got, err)
	}
	head := jws.Signatures[0].Protected
	if head.KeyID != "k.1" || head.Algorithm != string(alg) || head.ExtraHeaders["typ"] != "JWT" || head.ExtraHeaders["cty"] != "x" {
		t.Errorf("%s: header %+v", alg, head)
	}
}

func TestUnencodedPayload(t *testing.T) {
	p := keyFor(t, jose.ES256)
	f := Form{Unencoded: true}
	head, err := Header{KID: "k.1", Alg: jose.ES256}.Protect(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(string(head))
	if want := `{"alg":"ES256","kid":"k.1","b64":false,"crit":["b64"]}`; string(raw) != want {
		t.Errorf("header %s, want %s", raw, want)
	}
	jws, err := Sign(p, head, []byte("$02"), f)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(jws, ".")
	if parts[1] != "$02" {
		t.Errorf("the payload is %q", parts[1])
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	if !VerifySignature(p.Public(), jose.ES256, []byte(string(head)+".$02"), signature) {
		t.Error("RFC 7797 section 3: the payload is signed as it is")
	}
	if _, err := Sign(p, head, []byte("$.02"), f); !errors.Is(err, ErrInvalid) {
		t.Errorf("a dot in an unencoded payload: %v", err)
	}
	detached, err := Sign(p, head, []byte("$.02"), Form{Unencoded: true, Detached: true})
	if err != nil || strings.Contains(detached, "$") {
		t.Errorf("%q, %v", detached, err)
	}
	parsed, err := jose.ParseDetached(detached, []byte("$.02"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || parsed.DetachedVerify([]byte("$.02"), p.Public()) != nil {
		t.Errorf("go-jose does not verify it: %v", err)
	}
}

func TestHeaderRefusesWhatIsNotTheCallers(t *testing.T) {
	for _, name := range append([]string{"ALG", "Kid", ""}, reserved...) {
		h := Header{KID: "k", Alg: jose.ES256, Extra: map[string]json.RawMessage{name: json.RawMessage(`"x"`)}}
		_, err := h.Protect(Form{})
		var claim *ClaimError
		if !errors.As(err, &claim) || !errors.Is(err, ErrInvalid) || claim.Field != "headers."+name {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, value := range []string{``, `{`, `{"a":1,"a":2}`, "\"\xff\"", `"` + strings.Repeat("x", maxHeader) + `"`} {
		h := Header{KID: "k", Alg: jose.ES256, Extra: map[string]json.RawMessage{"x": json.RawMessage(value)}}
		if _, err := h.Protect(Form{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.20q: %v", value, err)
		}
	}
}

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

func TestZeroPrivateSignsNothing(t *testing.T) {
	if _, err := Sign(Private{}, "e30", []byte("x"), Form{}); !errors.Is(err, ErrKeyMaterial) {
		t.Error(err)
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, Ed25519, jose.RS256} {
		p := keyFor(b, alg)
		head, _ := Header{KID: "k", Alg: alg, Typ: "JWT"}.Protect(Form{})
		payload := bytes.Repeat([]byte("x"), 300)
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Sign(p, head, payload, Form{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
