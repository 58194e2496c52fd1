package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
)

// recorder collects the log and all responses of a running program.
type recorder struct {
	log, answers bytes.Buffer
	url, key     string
}

// ask sends a request; header is pairs of name and value.
func (r *recorder) ask(t *testing.T, method, path, body string, auth bool, header ...string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if req.Header.Set("Content-Type", "application/json"); auth {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range resp.Header {
		r.answers.WriteString(name + ": " + strings.Join(values, ",") + "\n")
	}
	r.answers.Write(append(text, '\n'))
	return text
}

// No output has a private key in any encoding; log and metrics have no token
// and no credential, at any log level and after any error.
func TestNoSecretIsShown(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "migrate", "up")
	made := keyward(t, env, "api-key", "create", "--role=platform_admin")
	rec := &recorder{key: strings.TrimSpace(made.stdout)}
	r := launch(t, env, "serve", "--log-level=debug")
	rec.url = r.until(t, `msg=serving url=(\S+)`)[1]

	rec.ask(t, "POST", "/v1/tenants", `{"slug":"acme","policies":[{"alg":"ES256","default":true},{"alg":"EdDSA","default":false},{"alg":"RS256","default":false}]}`, true)
	var signed, created map[string]any
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/acme/tokens", `{"claims":{"sub":"alice"}}`, true), &signed)
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/acme/api-keys", `{"name":"n","role":"tenant_signer"}`, true), &created)
	token, second := signed["token"].(string), created["key"].(string)
	private := privateKeys(t, env, "acme")
	quiet := rec.answers.Len() // earlier answers may have the requested secrets
	rec.ask(t, "POST", "/v1/tenants/acme/tokens/verify", `{"token":"`+token+`"}`, false)
	rec.ask(t, "POST", "/v1/tenants/acme/tokens/verify", `{"token":"`+token+`x"}`, true)
	rec.ask(t, "POST", "/v1/tenants/acme/tokens/verify", `{"tokn":"`+token+`"}`, true)
	rec.ask(t, "POST", "/v1/tenants/acme/tokens", `{"claims":{"sub":"`+second+`"`, true)
	rec.ask(t, "GET", "/v1/tenants/"+second+"/keys", "", true)
	for _, path := range []string{"/v1/tenants/acme/keys", "/v1/tenants/acme/audit", "/t/acme/.well-known/jwks.json", "/metrics", "/readyz"} {
		rec.ask(t, "GET", path, "", true)
	}
	for kid := range strings.SplitSeq(kids(t, rec), " ") {
		for _, form := range []string{"application/json", "application/jwk+json", "application/x-pem-file", "application/octet-stream", "application/pkcs8"} {
			rec.ask(t, "GET", "/v1/tenants/acme/keys/"+kid, "", true, "Accept", form)
		}
	}
	rec.ask(t, "POST", "/v1/tenants/acme/data-key/rotate", "", true)
	private = append(private, privateKeys(t, env, "acme")...)
	rec.ask(t, "POST", "/v1/tenants/acme/keys/rotate", `{}`, true)
	rec.ask(t, "POST", "/v1/tenants/acme/keys/revoke-all", `{"reason":"compromised"}`, true)
	private = append(private, privateKeys(t, env, "acme")...)
	admin := rec.key
	rec.key = second[:len(second)-1]
	rec.ask(t, "GET", "/v1/tenants/acme", "", true)
	rec.key = admin
	rec.ask(t, "DELETE", "/v1/tenants/acme", "", true, "Prefer", "return=representation")
	http.DefaultClient.CloseIdleConnections()
	r.stop()
	for line := range r.log {
		rec.log.WriteString(line + "\n")
	}

	shown := rec.log.String() + rec.answers.String() + dump(t, env)
	for _, secret := range private {
		wantAbsent(t, shown, "a private key", secret)
	}
	signature := token[strings.LastIndex(token, ".")+1:]
	for _, secret := range []string{made.stdout, second, signature} {
		secret = strings.TrimSpace(secret[strings.LastIndex(secret, "_")+1:])
		wantAbsent(t, rec.log.String()+rec.answers.String()[quiet:], "a credential or token", []byte(secret))
	}
	if !strings.Contains(shown, "acme") || len(private) < 36 {
		t.Errorf("too little was looked at: %d private keys", len(private))
	}
}

// kids returns the kids of the tenant's keys, separated by spaces.
func kids(t *testing.T, rec *recorder) string {
	t.Helper()
	var list struct{ Items []struct{ KID string } }
	unmarshal(t, rec.ask(t, "GET", "/v1/tenants/acme/keys", "", true), &list)
	var all []string
	for _, k := range list.Items {
		all = append(all, k.KID)
	}
	return strings.Join(all, " ")
}

func unmarshal(t *testing.T, text []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// wantAbsent searches for a secret raw, in hex and in both base64 alphabets.
func wantAbsent(t *testing.T, text, what string, secret []byte) {
	t.Helper()
	for name, spelt := range map[string]string{
		"as it is":  string(secret),
		"in hex":    hex.EncodeToString(secret),
		"in HEX":    strings.ToUpper(hex.EncodeToString(secret)),
		"base64":    base64.RawStdEncoding.EncodeToString(secret),
		"base64url": base64.RawURLEncoding.EncodeToString(secret),
	} {
		if strings.Contains(text, spelt) {
			t.Errorf("%s is shown %s", what, name)
		}
	}
}

// privateKeys opens every private key of a tenant and returns its secret
// values.
func privateKeys(t *testing.T, env environ, slug string) (secrets [][]byte) {
	t.Helper()
	ctx := context.Background()
	ring, err := seal.Open(ctx, env["KEYWARD_MASTER_KEY"])
	if err != nil {
		t.Fatal(err)
	}
	master, err := ring.Key(ctx, ring.Newest())
	if err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(ctx, db.Config{URL: env["KEYWARD_DATABASE_URL"]})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	err = d.AsPlatform(ctx, func(tx *db.Tx) error {
		id, err := tx.LiveTenantID(ctx, slug)
		if err != nil {
			return err
		}
		data, err := tx.ListLiveDataKeys(ctx, id)
		if err != nil {
			return err
		}
		key, err := master.UnwrapDataKey(ctx, id, data[0].Version, data[0].Wrapped)
		if err != nil {
			return err
		}
		rows, err := tx.ListSealedKeys(ctx, id)
		for _, row := range rows {
			secrets = append(secrets, unsealed(t, key, id, row)...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

func unsealed(t *testing.T, key *seal.DataKey, id uuid.UUID, row db.ListSealedKeysRow) [][]byte {
	t.Helper()
	der, err := key.Open(id, *row.DataKeyVersion, row.KID, row.SealedPrivate)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return append([][]byte{der}, scalars(t, private)...)
}

// scalars returns the secret numbers of a private key.
func scalars(t *testing.T, private crypto.PrivateKey) [][]byte {
	t.Helper()
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return [][]byte{d}
	case ed25519.PrivateKey:
		return [][]byte{k.Seed()}
	case *rsa.PrivateKey:
		return [][]byte{k.D.Bytes(), k.Primes[0].Bytes(), k.Primes[1].Bytes()}
	}
	t.Fatalf("a private key of type %T", private)
	return nil
}

// dump returns the database as written by pg_dump; empty without pg_dump.
func dump(t *testing.T, env environ) string {
	t.Helper()
	path, err := exec.LookPath("pg_dump")
	if err != nil {
		t.Log("no pg_dump here: the database is not looked at")
		return ""
	}
	cmd := exec.CommandContext(t.Context(), path, env["KEYWARD_DATABASE_URL"])
	cmd.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=10")
	out, err := cmd.Output()
	if err != nil {
		t.Logf("pg_dump: %v: the database is not looked at", err)
	}
	return string(out)
}
