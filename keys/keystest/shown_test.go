package keystest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

// planted makes a key and everything that would give it away, by name.
func planted(t *testing.T, s *Shown) map[string]string {
	t.Helper()
	_, okp, _ := ed25519.GenerateKey(rand.Reader)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"an RSA key as Go prints it": fmt.Sprintf("%v", big), "bytes as Go prints them": fmt.Sprintf("%v", okp.Seed())}
	for name, key := range map[string]any{"EC": ec, "OKP": okp, "RSA": big} {
		s.Learn(key)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		armoured := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		quoted, _ := json.Marshal(string(armoured))
		all[name+" DER"], all[name+" PEM"], all[name+" PEM in JSON"] = string(der), string(armoured), string(quoted)
		for i, secret := range append(privateNumbers(key), der) {
			name := fmt.Sprint(name, " number ", i)
			all[name], all[name+" in hex"] = string(secret), hex.EncodeToString(secret)
			all[name+" in HEX"] = fmt.Sprintf("%X", secret)
			for before := range 3 {
				text := append(make([]byte, before), secret...)
				all[fmt.Sprint(name, " base64 after ", before)] = base64.StdEncoding.EncodeToString(text)
				all[fmt.Sprint(name, " base64url after ", before)] = base64.RawURLEncoding.EncodeToString(text)
			}
		}
	}
	return all
}

func TestAPlantedKeyIsFound(t *testing.T) {
	s := New()
	for name, text := range planted(t, s) {
		t.Run(name, func(t *testing.T) {
			for _, before := range []int{0, 1<<20 - 60, 1<<20 - 20} { // also over the edge of what is read at once
				part := &Shown{secrets: s.secrets, untee: func() {}}
				part.appendShown("noise", bytes.Repeat([]byte{'x'}, before))
				place := part.Place("the place")
				fmt.Fprintf(place, "before %s after", text)
				place.Close()
				part.appendShown("noise", []byte("x"))
				if found, err := part.findSecrets(); err != nil || !slices.Equal(found, []string{"the place"}) {
					t.Errorf("after %d bytes: %q, %v", before, found, err)
				}
			}
		})
	}
}

func TestWhatIsNoSecretIsNotFound(t *testing.T) {
	s := New()
	planted(t, s)
	place := s.Place("the place")
	for range 100 {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		der, _ := x509.MarshalPKCS8PrivateKey(key)
		fmt.Fprintf(place, "%x\n%s\n%s\n", der, base64.StdEncoding.EncodeToString(der), der)
	}
	if code := s.End(0); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if learnt, size := s.Seen(); learnt != 3 || size < 100*500 {
		t.Errorf("saw %d keys, %d bytes", learnt, size)
	}
}

// Every way in leads to the same end: the run fails, and says where, not what.
func TestEveryPlaceIsRead(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	secret := base64.RawURLEncoding.EncodeToString(key.Seed())
	for want, show := range map[string]func(t *testing.T, s *Shown){
		"standard output":                  func(*testing.T, *Shown) { fmt.Print("d=", secret) },
		"standard error":                   func(*testing.T, *Shown) { fmt.Fprintln(os.Stderr, secret) },
		"standard error, by the log":       func(*testing.T, *Shown) { slog.Info(secret) },
		"the response to GET /body":        func(t *testing.T, s *Shown) { get(t, s, "/body", secret) },
		"the response to GET /header":      func(t *testing.T, s *Shown) { get(t, s, "/header", secret) },
		"the database of TestEveryPlaceIs": func(t *testing.T, s *Shown) { insert(t, s, secret) },
	} {
		want, _, _ = strings.Cut(want, ",")
		said, code := ended(t, func(s *Shown) { s.Learn(key); show(t, s) })
		if code != 1 || !strings.Contains(said, "a private key is shown in "+want) {
			t.Errorf("%s: exit code %d, %q", want, code, strings.ReplaceAll(said, secret, "SECRET"))
		}
	}
}

// ended runs what a TestMain would, with files for standard output and error,
// and returns what is said at the end.
func ended(t *testing.T, run func(s *Shown)) (said string, code int) {
	t.Helper()
	stdout, stderr := os.Stdout, os.Stderr
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	var err error
	if os.Stdout, err = os.Create(t.TempDir() + "/out"); err != nil {
		t.Fatal(err)
	}
	os.Stderr = os.Stdout
	file := os.Stdout
	defer file.Close()
	s := New()
	s.Tee()
	run(s)
	code = s.End(0)
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text), code
}

func get(t *testing.T, s *Shown, path, secret string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/header" {
			w.Header().Set("X-Secret", secret)
			return
		}
		_, _ = io.WriteString(w, secret)
	}))
	defer server.Close()
	resp, err := (&http.Client{Transport: s.Transport(server.Client().Transport)}).Get(server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func insert(t *testing.T, s *Shown, secret string) {
	t.Helper()
	t.Run("database", func(t *testing.T) {
		url := dbtest.New(t)
		s.Database(t, url, func() string { return "" })
		dbtest.Exec(t, url, "CREATE TABLE leak AS SELECT '"+secret+"'::text AS what")
	})
}
