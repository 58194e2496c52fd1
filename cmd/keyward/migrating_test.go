package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// The commands of docs/migrating.md work as printed, with the files of the systems that
// they are about.
func TestRecipesOfMigrating(t *testing.T) {
	page, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	keystore, err := filepath.Abs("../../moving/testdata/formats/keytool.p12")
	if err != nil {
		t.Fatal(err)
	}
	env := served(t)
	ask := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	t.Chdir(t.TempDir())
	set := writeSources(t, keystore)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, set) }))
	defer issuer.Close()
	_, recipes, found := strings.Cut(string(page), "## Recipes")
	blocks := shellBlock.FindAllStringSubmatch(recipes, -1)
	if !found || len(blocks) < 8 {
		t.Fatalf("docs/migrating.md has %d recipes", len(blocks))
	}
	ran := 0
	for i, block := range blocks {
		tenant := fmt.Sprintf("recipe-%d", i)
		ask.ask(t, "POST", "/v1/tenants", `{"slug":"`+tenant+`","policies":[{"alg":"EdDSA","default":true},{"alg":"RS256"},{"alg":"ES256"}]}`, true)
		for line := range strings.Lines(block[1]) {
			command, _, _ := strings.Cut(line, "#")
			args := strings.Fields(command)
			if len(args) == 0 || args[0] != "keyward" {
				continue // of the other system
			}
			args = slices.Clone(args[1:])
			for j, arg := range args {
				if arg == "acme" {
					args[j] = tenant
				}
				if strings.HasPrefix(arg, "https://") {
					args[j] = issuer.URL
				}
			}
			if args[0] == "import-from" {
				args = append(args, "--yes")
			}
			ran++
			if r := keyward(t, env, args...); r.code != exitOK || strings.Contains(r.stdout, "REFUSED") || strings.Contains(r.stdout, "Nothing to do") {
				t.Errorf("%s%d: %s%s", line, r.code, r.stdout, r.stderr)
			}
		}
	}
	if ran < 11 {
		t.Errorf("%d commands were run", ran)
	}
}

// writeSources writes what the recipes read into the working directory, and returns a
// public JWK Set.
func writeSources(t *testing.T, keystore string) string {
	t.Helper()
	write := func(name string, text []byte) {
		err := os.MkdirAll(filepath.Dir(name), 0o700)
		if err == nil {
			err = os.WriteFile(name, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	pkcs1, std := x509.MarshalPKCS1PrivateKey(key), base64.StdEncoding.EncodeToString
	write("keys/a1.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	write("keys/metadata.json", []byte(`{"keys":[{"kid":"a1","status":"active","createdAt":1,"expiresAt":4102444800000,"keyPath":"/srv/keys/a1.pem"}]}`))
	write("plain.pem", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: pkcs1}))
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key, KeyID: "s1", Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	write("jwks.json", private)
	p12, err := os.ReadFile(keystore)
	if err != nil {
		t.Fatal(err)
	}
	write("new.p12", p12)
	write("pass.txt", []byte("changeit\n"))
	write("realm.json", []byte(`{"realm":"acme","components":{"org.keycloak.keys.KeyProvider":[{"name":"rsa","providerId":"rsa-generated","config":{"privateKey":["`+std(pkcs1)+`"],"priority":["100"]}}]}}`))
	numbers, err := json.Marshal(map[string]string{
		"D": std(key.D.Bytes()), "DP": std(key.Precomputed.Dp.Bytes()), "DQ": std(key.Precomputed.Dq.Bytes()), "Exponent": "AQAB",
		"InverseQ": std(key.Precomputed.Qinv.Bytes()), "Modulus": std(key.N.Bytes()), "P": std(key.Primes[0].Bytes()), "Q": std(key.Primes[1].Bytes()),
	})
	if err != nil {
		t.Fatal(err)
	}
	write("tempkey.rsa", []byte(`{"KeyId":"t1","Parameters":`+string(numbers)+`}`))
	stored, err := json.Marshal(map[string]any{
		"Version": 1, "Id": "D1", "Created": "2026-01-01T00:00:00Z", "Algorithm": "RS256", "IsX509Certificate": false, "DataProtected": false,
		"Data": `{"Parameters":` + string(numbers) + `,"Id":"D1","Algorithm":"RS256"}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	write("duende-keys/is-signing-key-D1.json", stored)
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "p1/=", Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(public)
}
