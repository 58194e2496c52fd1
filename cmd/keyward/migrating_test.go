package main

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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
				switch {
				case strings.Contains(arg, "/admin/keys/"):
					args[j] = "jwks.json" // no answer to a request of a test may have a private key
				case strings.HasPrefix(arg, "https://"):
					args[j] = issuer.URL
				}
				if strings.HasPrefix(arg, "redis://") {
					args[j] = redisWithKeys(t)
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
	if ran < 14 {
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
	hash := sha256.Sum256([]byte("the-one-before"))
	block, err := aes.NewCipher(hash[:])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	row, err := (&jose.JSONWebKey{Key: key, KeyID: "h1", Algorithm: "RS256", Use: "sig"}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, gcm.NonceSize())
	write("hydra-keys.txt", []byte(base64.URLEncoding.EncodeToString(gcm.Seal(nonce, nonce, row, nil))+"\n"))
	write("system-secret.txt", []byte("the-newest-one\nthe-one-before\n"))
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

// redisWithKeys returns the URL of a server that answers like Redis with a key of "How to
// JWKS".
func redisWithKeys(t *testing.T) string {
	t.Helper()
	private, err := os.ReadFile("plain.pem")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	public := set.Keys[0].Public()
	jwk, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{
		"get auth:keys:active": bulk("r1"), "get auth:keys:pem:r1": bulk(string(private)), "get auth:keys:jwk:r1": bulk(string(jwk)),
		"smembers auth:keys:revoked": "*0\r\n", "zrange auth:keys:recent": "*1\r\n" + bulk("r1"),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveRedis(conn, answers)
		}
	}()
	return "redis://" + l.Addr().String() + "/0"
}

// bulk is a string in the protocol of Redis (RESP).
func bulk(text string) string { return "$" + strconv.Itoa(len(text)) + "\r\n" + text + "\r\n" }

// serveRedis answers commands by their first two words, and others with an error.
func serveRedis(conn net.Conn, answers map[string]string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		var n int
		if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
			return
		}
		words := make([]string, n)
		for i := range words {
			var size int
			if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
				return
			}
			word := make([]byte, size+2)
			if _, err := io.ReadFull(in, word); err != nil {
				return
			}
			words[i] = string(word[:size])
		}
		answer, known := "-ERR unknown command\r\n", false
		if n > 1 {
			if text, is := answers[strings.ToLower(words[0])+" "+words[1]]; is {
				answer, known = text, true
			}
		}
		if !known && strings.EqualFold(words[0], "select") {
			answer = "+OK\r\n"
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}
