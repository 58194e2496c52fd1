package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestPrivateIsNeverShown(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.MLDSA65} {
		p := keyFor(t, alg)
		type outer struct {
			Shown  Private
			hidden Private
			ptr    *Private
			list   []Private
		}
		v := outer{p, p, &p, []Private{p}}
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%!"} {
			fmt.Fprintf(&out, verb+"\n", p)
			fmt.Fprintf(&out, verb+"\n", &p)
			fmt.Fprintf(&out, verb+"\n", v)
			fmt.Fprintf(&out, verb+"\n", &v)
		}
		fmt.Fprintln(&out, p, v, p.String(), p.GoString())
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "p", p, "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "p", p, "v", v)
		for _, x := range []any{p, &p, v, map[string]any{"p": p}} {
			text, err := json.Marshal(x)
			if err != nil || !bytes.Contains(text, []byte(redacted)) {
				t.Errorf("%s, %v", text, err)
			}
			out.Write(text)
		}
		for _, secret := range secrets(t, p) {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%s: the private key is shown", alg)
			}
		}
		if !strings.Contains(out.String(), redacted) {
			t.Error("not even " + redacted)
		}
		if err := gob.NewEncoder(&out).Encode(p); !errors.Is(err, errRefused) {
			t.Errorf("gob: %v", err)
		}
	}
}

// secrets are the ways in which the private part could be written.
func secrets(t *testing.T, p Private) []string {
	var raw []byte
	switch k := p.key().(type) {
	case *ecdsa.PrivateKey:
		raw, _ = k.Bytes()
	case ed25519.PrivateKey:
		raw = k.Seed()
	case *rsa.PrivateKey:
		raw = k.D.Bytes()
	case *mldsa.PrivateKey:
		raw = k.Bytes()
	default:
		t.Fatalf("%T", k)
	}
	part := raw[8:24]
	return []string{
		string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
		strings.Trim(fmt.Sprint(part), "[]"), base64.RawURLEncoding.EncodeToString(raw[9:24]), base64.RawStdEncoding.EncodeToString(raw[9:24]),
	}
}

func TestPKCS8ThereAndBack(t *testing.T) {
	for _, alg := range Algorithms() {
		p := keyFor(t, alg)
		der, err := p.PKCS8()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParsePKCS8(alg, der)
		if err != nil {
			t.Fatal(err)
		}
		input := []byte("input")
		signature, err := back.Sign(input)
		if err != nil || !VerifySignature(p.Public(), alg, input, signature) {
			t.Errorf("%s: another key came back: %v", alg, err)
		}
		if back.Alg() != alg || back.IsZero() {
			t.Errorf("%s: came back as %s", alg, back.Alg())
		}
	}
}

func TestParsePKCS8Refuses(t *testing.T) {
	good, _ := keyFor(t, jose.ES256).PKCS8()
	for name, c := range map[string]struct {
		alg  jose.SignatureAlgorithm
		der  []byte
		want error
	}{
		"nothing":      {jose.ES256, nil, ErrKeyMaterial},
		"cut off":      {jose.ES256, good[:40], ErrKeyMaterial},
		"other curve":  {jose.ES384, good, ErrKeyMaterial},
		"other kind":   {jose.RS256, good, ErrKeyMaterial},
		"HMAC":         {jose.HS256, good, ErrUnsupportedAlgorithm},
		"no algorithm": {"", good, ErrUnsupportedAlgorithm},
	} {
		if p, err := ParsePKCS8(c.alg, c.der); !errors.Is(err, c.want) || !p.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Private{}).PKCS8(); !errors.Is(err, ErrKeyMaterial) {
		t.Error(err)
	}
}
