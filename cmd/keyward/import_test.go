package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/client"
)

// served starts Keyward with a tenant acme that signs with EdDSA, and returns
// the environment to reach it.
func served(t *testing.T) environ {
	t.Helper()
	return servedOn(t, deployed(t))
}

// servedOn is served on a given database.
func servedOn(t *testing.T, env environ) environ {
	t.Helper()
	key := strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_admin").stdout)
	r := launch(t, env, "serve", "--log-format=text")
	url := r.until(t, `msg=serving url=(\S+)`)[1]
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	rec := &recorder{url: url, key: key}
	rec.ask(t, "POST", "/v1/tenants", `{"slug":"acme","policies":[{"alg":"EdDSA","default":true}]}`, true)
	return environ{"KEYWARD_URL": url, "KEYWARD_API_KEY": key}
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// onDisk writes a key as PEM and as JWK, private and public, and returns the
// file names.
func onDisk(t *testing.T, key ed25519.PrivateKey, kid string) (private, public, jwk, set string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, text []byte, err error) string {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	private = write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err)
	der, err = x509.MarshalPKIXPublicKey(key.Public())
	public = write("public.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err)
	text, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: "EdDSA", Use: "sig"})
	jwk = write("jwk.json", text, err)
	text, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: kid + "-1", Algorithm: "EdDSA"}, {Key: newKey(t).Public(), KeyID: kid + "-2", Algorithm: "EdDSA"}}})
	return private, public, jwk, write("set.json", text, err)
}

func TestKeyImport(t *testing.T) {
	env := served(t)
	private, public, jwk, set := onDisk(t, newKey(t), "mine")
	keyward(t, env, "key", "import", "--tenant=acme", "--pem="+private, "--alg=EdDSA", "--kid=a").want(t, exitOK, "a (EdDSA) is standby.")
	keyward(t, env, "key", "import", "--tenant=acme", "--pem="+public, "--alg=EdDSA", "--kid=b", "--keep-for=1h").want(t, exitOK, "b (EdDSA) is deprecated until ")
	keyward(t, env, "key", "import", "--tenant=acme", "--jwks="+jwk, "--alg=EdDSA", "--as=active").want(t, exitOK, "mine (EdDSA) is active.")
	r := keyward(t, env, "key", "import", "--tenant=acme", "--jwks="+set, "--json")
	r.want(t, exitOK)
	var list client.KeyList
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list.Items) != 2 || list.Items[1].KID != "mine-2" {
		t.Errorf("%s: %v", r.stdout, err)
	}
	keyward(t, env, "key", "import", "--tenant=acme", "--pem="+jwk, "--alg=EdDSA").want(t, exitFailed)
	keyward(t, env, "key", "import", "--tenant=acme").want(t, exitUsage, "--pem", "--jwks")
	keyward(t, env, "key", "import", "--tenant=acme", "--pem="+private, "--jwks="+jwk).want(t, exitUsage)
	keyward(t, env, "key", "import", "--tenant=acme", "--jwks="+private).want(t, exitUsage, "--jwks")
	keyward(t, env, "key", "import", "--tenant=acme", "--pem=/does/not/exist").want(t, exitFailed, "/does/not/exist")
	keyward(t, env, "key", "import", "--tenant=nobody", "--pem="+private, "--alg=EdDSA").want(t, exitFailed, "404")
}

// A repeated import of the same key is no error, by key import as by import-from, and
// changes nothing. A key of the same kid that is not what the command asks for is one.
func TestKeyImportCanBeRepeated(t *testing.T) {
	env := served(t)
	private, public, jwk, set := onDisk(t, newKey(t), "mine")
	otherPrivate, _, otherJWK, _ := onDisk(t, newKey(t), "mine")
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	several, ends := filepath.Join(t.TempDir(), "several.pem"), filepath.Join(t.TempDir(), "ends.json")
	err = os.WriteFile(several, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rs.PublicKey)}), 0o600)
	if err == nil { // exp is 2029-12-31
		err = os.WriteFile(ends, []byte(doorKey(t, rs.Public(), "ends", "RS256", "exp", "1893369600")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	const until = "--expires-at=2030-01-31T00:00:00Z"
	importKey := func(flags ...string) result {
		return keyward(t, env, append([]string{"key", "import", "--tenant=acme"}, flags...)...)
	}
	for _, flags := range [][]string{
		{"--pem=" + private, "--alg=EdDSA", "--kid=a"},
		{"--pem=" + public, "--alg=EdDSA", "--kid=b", until},
		{"--jwks=" + jwk, "--as=active"},
		{"--jwks=" + set},
		{"--pem=" + several, "--algs=RS256,RS384", "--kid=r"},
		{"--pem=" + public, "--algs=Ed25519", "--kid=e"},
		{"--jwks=" + ends, until},
	} {
		importKey(flags...).want(t, exitOK)
		if flags[0] == "--pem="+private { // the standby that the next one replaces, revoked as superseded
			importKey(flags...).want(t, exitOK, "a was skipped: it is there already as standby.", "Nothing to do.")
		}
	}
	before := imported(t, env, "acme")
	for said, flags := range map[string][]string{
		"b was skipped: it is there already as deprecated.":     {"--pem=" + public, "--alg=EdDSA", "--kid=b", until},
		"mine was skipped: it is there already as active.":      {"--jwks=" + jwk, "--as=active"},
		"mine-2 was skipped: it is there already as deprecated": {"--jwks=" + set},
		"r was skipped: it is there already as deprecated.":     {"--pem=" + several, "--algs=RS256,RS384", "--kid=r"},
		"e was skipped: it is there already as deprecated.":     {"--pem=" + public, "--algs=Ed25519", "--kid=e"},
		"ends was skipped: it is there already as deprecated.":  {"--jwks=" + ends, until},
	} {
		importKey(flags...).want(t, exitOK, said, "Nothing to do.")
		importKey(append(flags, "--dry-run")...).want(t, exitOK, said)
		r := importKey(append(flags, "--json")...)
		var list client.KeyList
		if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || r.code != exitOK || len(list.Items) != 0 || len(list.Skipped) == 0 {
			t.Errorf("%d: %s%s", r.code, r.stdout, r.stderr)
		}
	}
	for name, flags := range map[string][]string{
		"another key":     {"--jwks=" + otherJWK, "--as=active"},
		"another key PEM": {"--pem=" + otherPrivate, "--alg=EdDSA", "--kid=a"},
		"for longer":      {"--pem=" + public, "--alg=EdDSA", "--kid=b", "--expires-at=2030-02-28T00:00:00Z"},
		"for less long":   {"--jwks=" + ends, "--expires-at=2029-01-31T00:00:00Z"},
		"another of its":  {"--pem=" + several, "--algs=RS512,RS256", "--kid=r"},
		"another name":    {"--pem=" + public, "--algs=EdDSA", "--kid=e"},
		"to sign with":    {"--pem=" + private, "--alg=EdDSA", "--kid=b"},
		"at once":         {"--pem=" + private, "--alg=EdDSA", "--kid=a", "--as=active"},
		"one alg more":    {"--pem=" + public, "--alg=EdDSA", "--kid=b", "--algs=EdDSA,Ed25519", until},
	} {
		if r := importKey(flags...); r.code != exitFailed || !strings.Contains(r.stderr, "409") {
			t.Errorf("%s: exit code %d: %s", name, r.code, r.stderr)
		}
	}
	if after := imported(t, env, "acme"); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("%q became %q", before, after)
	}
}

// A private key in what is to be a set of public keys does not leave the machine, nor does
// a shared secret.
func TestSecretsAreNotSent(t *testing.T) {
	var sent bytes.Buffer
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(&sent, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"items":[]}`)
	}))
	defer api.Close()
	env := environ{"KEYWARD_URL": api.URL, "KEYWARD_API_KEY": "none"}
	public := doorKey(t, curveKey(t, elliptic.P256()), "public", "ES256")
	ec := func(members ...string) string {
		return doorKey(t, curveKey(t, elliptic.P256()), "private", "ES256", append(members, "d", `"c2VjcmV0"`)...)
	}
	for file, code := range map[string]int{
		`{"keys":[` + public + `,` + ec() + `]}`:                                   exitUsage,
		`{"keys":[` + public + `,` + ec("use", `"enc"`) + `]}`:                     exitUsage,
		`{"keys":[` + ec("crv", `"secp256k1"`) + `,` + public + `]}`:               exitUsage,
		`{"keys":[` + ec("key_ops", `["deriveBits"]`) + `,7]}`:                     exitUsage,
		`{"keys":[` + ec("use", `"enc"`) + `]}`:                                    exitFailed,
		`{"keys":[` + public + `,` + strings.Replace(ec(), `"d"`, `"D"`, 1) + `]}`: exitUsage,
		ec("crv", `"secp256k1"`):                                                   exitFailed,
		`{"keys":[{"kid":"a",` + ec()[1:] + `,` + public + `]}`:                    exitFailed,
		`{"keys":[` + public + `,{"kty":"oct","kid":"shared","k":"c2VjcmV0"}]}`:    exitOK,
		`{"kty":"oct","k":"c2VjcmV0"}`:                                             exitOK,
	} {
		sent.Reset()
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		r := keyward(t, env, "key", "import", "--tenant=acme", "--jwks="+path)
		if r.code != code || (code == exitOK) != (sent.Len() > 0) || strings.Contains(sent.String()+r.stdout+r.stderr, "c2VjcmV0") {
			t.Errorf("%s: %d, %s%s; sent: %s", file, r.code, r.stdout, r.stderr, &sent)
		}
		sent.Reset()
		if r := keyward(t, env, "key", "import", "--tenant=acme", "--pem="+path); r.code != exitFailed || sent.Len() > 0 {
			t.Errorf("%s as PEM: %d, %s%s; sent: %s", file, r.code, r.stdout, r.stderr, &sent)
		}
	}
}

func TestImportFrom(t *testing.T) {
	env := served(t)
	older, newer := newKey(t), newKey(t)
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: older, KeyID: "older", Algorithm: "EdDSA", Use: "sig"}, {Key: []byte("hunter2"), KeyID: "shared"}, {Key: newer, KeyID: "newer", Algorithm: "EdDSA", Use: "sig"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	move := func(flags ...string) result {
		r := keyward(t, env, append([]string{"import-from", "node-jose", file, "--tenant=acme"}, flags...)...)
		for _, key := range []ed25519.PrivateKey{older, newer} {
			wantAbsent(t, r.stdout+r.stderr, "a private key", key.Seed())
		}
		wantAbsent(t, r.stdout+r.stderr, "the shared secret", []byte("hunter2"))
		return r
	}
	move("--dry-run").want(t, exitOK, "older", "deprecated until", "7 days (--keep-for)", "newer", "standby", "shared secret", "Nothing was changed")
	move().want(t, exitUsage, "KID", "--yes") // prints the plan anyway
	r := move("--yes", "--json")
	r.want(t, exitOK)
	var said struct{ Keys []stepReport }
	if err := json.Unmarshal([]byte(r.stdout), &said); err != nil || len(said.Keys) != 3 || !said.Keys[0].Done || !said.Keys[2].Done || said.Keys[1].Becomes != "left" {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	move("--yes").want(t, exitOK, "is there already as standby", "is there already as deprecated", "Nothing to do.")
	move("--signs=nobody").want(t, exitUsage, "--signs")
	move("--keep-for=0s").want(t, exitUsage, "--keep-for")
	move("--alg=HS256").want(t, exitUsage, "--alg")
}

// A refused key is reported and does not stop the others.
func TestImportFromGoesOn(t *testing.T) {
	env := served(t)
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: newKey(t).Public(), KeyID: "good", Algorithm: "EdDSA"},
		{Key: newKey(t).Public(), KeyID: "public:old", Algorithm: "EdDSA"},
		{Key: newKey(t), KeyID: "weak", Algorithm: "EdDSA"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"d":"`), []byte(`"d":"AAAA`), 1)
	file := filepath.Join(t.TempDir(), "set.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r := keyward(t, env, "import-from", "hydra", file, "--tenant=acme", "--yes")
	r.want(t, exitFailed, "REFUSED", "its d must be 32 bytes", "2 moved.", "cannot be imported: 1 of 3 keys")
	keyward(t, env, "import-from", "hydra", file, "--tenant=acme", "--yes").want(t, exitFailed, "is there already as deprecated", "Nothing to do.")
	keyward(t, env, "import-from", "hydra", file, "--tenant=acme", "--dry-run").want(t, exitFailed, "REFUSED", "its d must be 32 bytes")
}

// Of more keys than one request has room for, those of an algorithm whose JWKS would be
// full are refused in the plan, and those of others come in: the plan is the run.
func TestImportFromOfManyKeys(t *testing.T) {
	env := served(t)
	set := jose.JSONWebKeySet{}
	for i := range 70 {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: newKey(t).Public(), KeyID: fmt.Sprint("many-", i), Algorithm: "EdDSA"})
	}
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set.Keys = append(set.Keys, jose.JSONWebKey{Key: curve.Public(), KeyID: strings.Repeat("k", 300), Algorithm: "ES384"}, jose.JSONWebKey{Key: curve.Public(), KeyID: "alone", Algorithm: "ES384"})
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "set.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	plan := keyward(t, env, "import-from", "jwk-file", file, "--tenant=acme", "--dry-run")
	plan.want(t, exitFailed, "together with the others", "cannot be imported: 71 of 72 keys", "kkkk… (300 bytes)")
	if strings.Contains(plan.stdout, strings.Repeat("k", 65)) {
		t.Error("the plan shows the whole of a kid that is too long")
	}
	keyward(t, env, "import-from", "jwk-file", file, "--tenant=acme", "--yes").want(t, exitFailed, "1 moved.", "cannot be imported: 71 of 72 keys")
	if got := imported(t, env, "acme"); len(got) != 1 || got[0] != "alone deprecated ES384" {
		t.Errorf("imported: %q", got)
	}
}

func TestSanitizeText(t *testing.T) {
	if got := sanitizeText("a\u202eb\u2066c\u2028d\ae\u05de\u200d\U0001f511"); got != "a?b?c?d?e\u05de\u200d\U0001f511" {
		t.Errorf("%q", got)
	}
}

func TestNobodyAtTheTerminal(t *testing.T) {
	env := served(t)
	private, _, _, _ := onDisk(t, newKey(t), "x")
	null, err := os.Open(os.DevNull) // a device without input
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var stderr bytes.Buffer
	args := []string{"import-from", "oauth2-server", private, "--tenant=acme"}
	if code := runProgram(t.Context(), args, null, io.Discard, &stderr, env.get); code != exitUsage || !strings.Contains(stderr.String(), "no terminal to ask for confirmation, nothing was changed: give --yes") {
		t.Errorf("%d: %s", code, &stderr)
	}
	for answer, yes := range map[string]bool{"y\n": true, " YES \n": true, "yes": true, "\n": false, "": false, "no\n": false, "yesterday\n": false} {
		if readConsent(strings.NewReader(answer)) != yes {
			t.Errorf("%q", answer)
		}
	}
}
