package moving

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func privatePEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func publicPEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func jwkText(t *testing.T, key any, kid, alg, use string) string {
	t.Helper()
	text, err := (&jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: alg, Use: use}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// summary has the compared properties of keys: kid, alg, state, private or not,
// and the reason for not importing one.
func summary(keys []Key) (lines []string) {
	for _, k := range keys {
		half := "public"
		if k.Private != nil {
			half = "private"
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s%s", k.KID, k.Alg, k.State, half, k.SkipReason, k.RefuseReason)))
	}
	return lines
}

func wantKeys(t *testing.T, keys []Key, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	got := summary(keys)
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range got {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("key %d is %q, want %q…", i, got[i], want[i])
		}
	}
}

func TestNestJWKS(t *testing.T) {
	dir := t.TempDir()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.pem", publicPEM(t, key))
	write(t, dir, "b.pem", "-----BEGIN NOTHING-----\nAAAA\n-----END NOTHING-----\n")
	write(t, dir, "metadata.json", `{"keys":[
		{"kid":"x","status":"revoked","expiresAt":1,"keyPath":null},
		{"kid":"../a","status":"deprecated","expiresAt":4102444800000,"keyPath":"/srv/../a.pem"},
		{"kid":"b","status":"deprecated","expiresAt":4102444800000,"keyPath":"/srv/b.pem"},
		{"kid":"gone","status":"deprecated","expiresAt":4102444800000,"keyPath":"/srv/gone.pem"},
		{"kid":"a","status":"active","expiresAt":4102444800123,"keyPath":"C:\\keys\\a.pem"}]}`)
	keys, err := NestJWKS(dir, Settings{})
	wantKeys(t, keys, err, "a EdDSA active public", "gone  deprecated public", "b  deprecated public", "../a  deprecated public there is no file", "x  revoked public its tokens")
	if got := keys[0].ExpiresAt.UnixMilli(); got != 4102444800123 {
		t.Errorf("a ends at %d", got)
	}
	keys, err = NestJWKS(dir, Settings{Alg: "Ed25519"})
	if err != nil || keys[0].Alg != "Ed25519" {
		t.Errorf("with --alg: %v, %v", summary(keys), err)
	}
}

func TestNestJWKSStaysInItsDirectory(t *testing.T) {
	dir := t.TempDir()
	outside := write(t, t.TempDir(), "outside.pem", publicPEM(t, ecKey(t)))
	if err := os.Symlink(outside, filepath.Join(dir, "a.pem")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "metadata.json", `{"keys":[{"kid":"a","status":"active","expiresAt":4102444800000,"keyPath":"/x/a.pem"}]}`)
	keys, err := NestJWKS(dir, Settings{})
	wantKeys(t, keys, err, "a  active public a.pem: ")
}

func TestNodeJose(t *testing.T) {
	path := write(t, t.TempDir(), "keys.json", `{"keys":[`+strings.Join([]string{
		jwkText(t, rsaKey(), "old", "RS256", "sig"), jwkText(t, rsaKey(), "crypt", "RSA-OAEP", "enc"),
		`{"kty":"oct","kid":"shared","k":"c2VjcmV0"}`, jwkText(t, rsaKey(), "mute", "", ""),
		jwkText(t, ecKey(t), "new", "", "sig"), `{"kty":7}`,
	}, ",")+`]}`)
	keys, err := NodeJose(path, Settings{})
	wantKeys(t, keys, err, "keys[5]  public public cannot be imported: its kty must be a string", "new ES256 private private", "mute  private public cannot be imported: its alg is required",
		"shared  public public is a shared secret", "crypt  private public is for encryption", "old RS256 private private")
	keys, err = NodeJose(path, Settings{Alg: "PS512"})
	if err != nil || keys[2].Alg != "PS512" || keys[1].Alg != "ES256" {
		t.Errorf("with --alg: %q, %v", summary(keys), err)
	}
}

func TestOAuth2Server(t *testing.T) {
	for name, text := range map[string]string{
		"PKCS#8":  privatePEM(t, rsaKey()),
		"PKCS#1":  string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})),
		"a note":  "the key\n" + privatePEM(t, rsaKey()),
		"its own": publicPEM(t, rsaKey()) + privatePEM(t, rsaKey()),
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := OAuth2Server(write(t, t.TempDir(), "key.pem", text), Settings{})
			thumbprint, _ := (&jose.JSONWebKey{Key: rsaKey()}).Thumbprint(crypto.SHA256)
			wantKeys(t, keys, err, b64(thumbprint)+" RS256 the only key private")
		})
	}
}

func TestHydra(t *testing.T) {
	set := `{"keys":[` + jwkText(t, rsaKey(), "1", "RS256", "sig") + `,` + jwkText(t, ecKey(t).Public(), "2", "ES256", "sig") + `]}`
	want := []string{"1 RS256 private private", "2 ES256 public public"}
	keys, err := Hydra(t.Context(), write(t, t.TempDir(), "set.json", set), nil, Settings{})
	wantKeys(t, keys, err, want...)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, set) }))
	defer s.Close()
	keys, err = Hydra(t.Context(), s.URL+"/admin/keys/hydra.openid.id-token", nil, Settings{})
	wantKeys(t, keys, err, want...)
}

func TestJWKSNeverTakesPrivateKeys(t *testing.T) {
	set := `{"keys":[` + jwkText(t, rsaKey(), "1", "RS256", "sig") + `]}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, set) }))
	defer s.Close()
	keys, err := JWKS(t.Context(), s.URL, Settings{})
	wantKeys(t, keys, err, "1 RS256 published public")
	if !strings.Contains(keys[0].Note, "PUBLISHED") {
		t.Errorf("no word about the private half: %q", keys[0].Note)
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	keys := []Key{{KID: "a", Private: Secret("hunter2")}}
	text, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s", keys, keys, keys, text)
	if strings.Contains(shown, "hunter2") || strings.Contains(shown, "aHVudGVyMg") || strings.Contains(shown, "104") {
		t.Errorf("shown: %s", shown)
	}
	material := keys[0].Private
	if Wipe(keys); string(material) == "hunter2" {
		t.Error("not wiped")
	}
}

// The rows of Hydra's database open with the secret that they were written with, now or
// before, and with no other.
func TestHydraRows(t *testing.T) {
	a, b := rsaKey(), ecKey(t)
	seal := func(secret, text string) string {
		key := sha256.Sum256([]byte(secret))
		block, err := aes.NewCipher(key[:])
		if err != nil {
			t.Fatal(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		nonce := make([]byte, gcm.NonceSize())
		return base64.URLEncoding.EncodeToString(gcm.Seal(nonce, nonce, []byte(text), nil))
	}
	path := filepath.Join(t.TempDir(), "rows")
	rows := seal("new", jwkText(t, a, "private:a", "RS256", "sig")) + "\r\n" + seal("new", jwkText(t, a.Public(), "public:a", "RS256", "sig")) + "\n\n" +
		seal("old", jwkText(t, b, "b", "ES256", "sig"))
	read := func(rows string, secrets ...string) ([]Key, error) {
		if err := os.WriteFile(path, []byte(rows), 0o600); err != nil {
			t.Fatal(err)
		}
		return Hydra(t.Context(), path, secrets, Settings{})
	}
	keys, err := read(rows, "new", "old")
	if err != nil || len(keys) != 3 || keys[0].KID != "public:a" || keys[0].Private == nil || keys[1].KID != "public:a" || keys[2].KID != "b" || keys[2].Private == nil {
		t.Errorf("%+v, %v", keys, err)
	}
	for name, rows := range map[string]string{
		"another secret": rows, "a JWK Set": `{"keys":[]}`, "too short": "AAAA", "changed": seal("new", `{}`)[:40] + "AAAA", "no JWK": seal("new", "x"),
	} {
		secrets := []string{"new"}
		if name == "another secret" {
			secrets = []string{"old2", "new2"}
		}
		if keys, err := read(rows, secrets...); err == nil || strings.Contains(err.Error(), rows) {
			t.Errorf("%s: %+v, %v", name, keys, err)
		}
	}
}
