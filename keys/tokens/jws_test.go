package tokens

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keystest"
)

// ed25519Verifier verifies the label that go-jose has no name for.
type ed25519Verifier struct{ pub crypto.PublicKey }

func (v ed25519Verifier) VerifyPayload(payload, signature []byte, alg jose.SignatureAlgorithm) error {
	if alg != keys.Ed25519 || !ed25519.Verify(v.pub.(ed25519.PublicKey), payload, signature) {
		return errors.New("no Ed25519 signature")
	}
	return nil
}

func TestGoJoseVerifiesEveryAlgorithm(t *testing.T) {
	payload := []byte(`{"sub":"42"}`)
	for _, alg := range keys.Algorithms() {
		p := keystest.PrivateKey(t, alg)
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
func foreign(t *testing.T, alg jose.SignatureAlgorithm, p keys.Private, token string, payload, detached []byte) {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
	if detached != nil {
		jws, err = jose.ParseDetached(token, detached, []jose.SignatureAlgorithm{alg})
	}
	if err != nil {
		t.Fatalf("%s: %v", alg, err)
	}
	var key any = p.Public()
	if alg == keys.Ed25519 {
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
	p := keystest.PrivateKey(t, jose.ES256)
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
	if !keys.VerifySignature(p.Public(), jose.ES256, []byte(string(head)+".$02"), signature) {
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

func BenchmarkSign(b *testing.B) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, keys.Ed25519, jose.RS256} {
		p := keystest.PrivateKey(b, alg)
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

func TestZeroPrivateSignsNothing(t *testing.T) {
	if _, err := Sign(keys.Private{}, "e30", []byte("x"), Form{}); !errors.Is(err, keys.ErrKeyMaterial) {
		t.Error(err)
	}
}
