package moving

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		if k, err := parsePEM([]byte(text)); err == nil && k.Public.Kty == "" {
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
			if s.Becomes == Standby && s.Private == nil {
				t.Errorf("%+v", s)
			}
		}
	})
}

// FuzzFiles gives any bytes to the reader of every format, as a file. Each returns, soon and
// without a panic; an error repeats none of the bytes, and only keys that are whole would move.
func FuzzFiles(f *testing.F) {
	for _, pattern := range []string{"testdata/formats/*", "testdata/*.json", "testdata/*.pem"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			if text, err := os.ReadFile(name); err == nil {
				f.Add(text)
			}
		}
	}
	for _, seed := range []string{
		`{"components":{"org.keycloak.keys.KeyProvider":[{"name":"a","providerId":"rsa-generated","config":{"privateKey":["AAAA"],"priority":["99999999999999999999"]}}]}}`, `[{"components":null}]`,
		`<RSAKeyValue><Modulus>AA==</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>`, `<!DOCTYPE x [<!ENTITY a "b">]><RSAKeyValue><Modulus>&a;</Modulus></RSAKeyValue>`, `{"KeyId":"x","Parameters":{"Modulus":"AA==","Exponent":"AQAB"}}`,
		`{"Version":1,"Id":"x","Data":"{\"Key\":1}","Algorithm":"RS256"}`, `{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB","d":"AA","p":"","q":""}]}`, strings.Repeat("[", 100_000), `{"keys":` + strings.Repeat("[", 100_000),
		"\x30\x84\xff\xff\xff\xff", "\x30\x80\x02\x01\x03", "\xef\xbb\xbf{}", "\xff\xfe{\x00}\x00", `{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 100_000) + `"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, "private.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, read := range map[string]func() ([]Key, error){
			"JWKFile": func() ([]Key, error) { return JWKFile(file, Settings{}) }, "NodeJose": func() ([]Key, error) { return NodeJose(file, Settings{}) },
			"OAuth2Server": func() ([]Key, error) { return OAuth2Server(file, Settings{}) }, "Keycloak": func() ([]Key, error) { return Keycloak(file, Settings{}) },
			"Dotnet": func() ([]Key, error) { return Dotnet(file, "", Settings{}) }, "Duende": func() ([]Key, error) { return Dotnet(dir, "", Settings{}) },
			"NestJWKS": func() ([]Key, error) { return NestJWKS(dir, Settings{}) }, "Hydra": func() ([]Key, error) { return Hydra(context.Background(), file, nil, Settings{}) },
			"PKCS12": func() ([]Key, error) {
				return PKCS12(file, PKCS12Options{Password: "changeit", patience: time.Second}, Settings{})
			},
		} {
			all, err := read()
			if err != nil && (!errors.Is(err, ErrFormat) && !errors.Is(err, ErrUnreadable) || len(err.Error()) > 400+len(file)) {
				t.Errorf("%s: %v", name, err)
			}
			for _, s := range Plan(all, both, here) {
				if s.Moves() && (s.Alg == "" || !keys.ValidKID(s.KID) || s.Public.Kty == "") || s.Becomes == Standby && s.Private == nil {
					t.Errorf("%s: %+v would move", name, s)
				}
			}
			Wipe(all)
		}
	})
}

// A file whose key derivation would take for ever is given up.
func TestPKCS12WithEndlessIterations(t *testing.T) {
	file, err := os.ReadFile("testdata/formats/keytool.p12")
	if err != nil {
		t.Fatal(err)
	}
	// It ends with the iterations of its MAC, 10,000, in a SEQUENCE in the outermost one. They
	// become 4 million, one byte more, so that what goes on ends soon after the test.
	iterations := len(file) - 4
	mac := iterations
	for file[mac] != 0x30 || int(file[mac+1]) != len(file)-mac-2 {
		mac--
	}
	if !bytes.Equal(file[iterations:], []byte{2, 2, 0x27, 0x10}) || file[0] != 0x30 || file[1] != 0x82 {
		t.Fatalf("%x", file[mac:])
	}
	file[mac+1]++
	binary.BigEndian.PutUint16(file[2:], binary.BigEndian.Uint16(file[2:])+1)
	hostile := append(file[:iterations], 2, 3, 0x3f, 0xff, 0xff)
	_, err = PKCS12(write(t, t.TempDir(), "hostile.p12", string(hostile)), PKCS12Options{Password: "changeit", patience: time.Millisecond}, Settings{})
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "iterations") {
		t.Errorf("%v", err)
	}
}
