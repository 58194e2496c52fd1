package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys/signing"
)

// signCheckpoint signs a checkpoint of an event with a new key, and returns it
// with a JWK Set of that key.
func signCheckpoint(t *testing.T, e audit.Event) (checkpoint, set string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kid := rand.Text()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType(signing.CheckpointType))
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := json.Marshal(signing.Checkpoint{Issuer: "https://keys.example", TenantID: e.TenantID, Seq: e.Seq, Hash: hex.EncodeToString(e.Hash), At: e.At})
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: kid, Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return fileOf(t, compact+"\n"), fileOf(t, string(public))
}

// The checkpoint of all tenants has the end of every history. Each is proved by the
// file, by an inclusion alone, and not by a file that was changed.
func TestCheckpointOfAllTenants(t *testing.T) {
	env := servedOn(t, deployed(t))
	dir := t.TempDir()
	file, set := filepath.Join(dir, "all.checkpoint"), filepath.Join(dir, "platform.json")
	rec := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	if err := os.WriteFile(set, rec.ask(t, "GET", "/.well-known/jwks.json", "", false), 0o600); err != nil {
		t.Fatal(err)
	}
	keyward(t, env, "audit", "checkpoint", "--all", "--out="+file).want(t, exitOK, "has the histories of 2 tenants", "keyward recover")
	kept, err := openCheckpoint(localFile{path: file}, []byte(read(t, set)))
	if err != nil || kept.all.Tenants != 2 {
		t.Fatalf("%+v: %v", kept, err)
	}
	ok(t, env, "tenant", "update", "acme", "--name=Acme")
	keyward(t, env, "audit", "verify", "--tenant=acme", "--checkpoint="+file, "--jwks="+set).want(t, exitOK, "includes the checkpoint")
	keyward(t, env, "audit", "verify", "--checkpoint="+file, "--jwks="+set).want(t, exitOK, "includes the checkpoint") // the platform's
	export := filepath.Join(dir, "acme.ndjson")
	ok(t, env, "audit", "export", "--tenant=acme", "--out="+export)
	proof := fileOf(t, string(rec.ask(t, "GET", "/v1/checkpoint?tenant=acme", "", true)))
	keyward(t, nil, "audit", "verify", export, "--checkpoint="+proof, "--jwks="+set).want(t, exitOK, "includes the checkpoint")
	bare := fileOf(t, string(rec.ask(t, "GET", "/v1/checkpoint", "", true)))
	keyward(t, nil, "audit", "verify", export, "--checkpoint="+bare, "--jwks="+set).want(t, exitFailed, "without its leaves")
	other := fileOf(t, string(rec.ask(t, "GET", "/v1/checkpoint?tenant=platform", "", true)))
	keyward(t, nil, "audit", "verify", export, "--checkpoint="+other, "--jwks="+set).want(t, exitFailed, "has no tenant")

	lines := strings.SplitAfter(strings.TrimSpace(read(t, file)), "\n")
	seq := strings.Index(lines[0], `"seq":`) + len(`"seq":`)
	for name, text := range map[string]string{
		"a leaf is missing": lines[0] + lines[2],
		"cut off":           lines[0] + lines[1],
		"a leaf is changed": lines[0][:seq] + "1" + lines[0][seq:] + lines[1] + lines[2],
		"exchanged":         lines[1] + lines[0] + lines[2],
		"more follows":      strings.Join(lines, "") + "\n" + lines[0],
		"changed proof":     strings.Replace(read(t, proof), `"index":`, `"index":1`, 1),
		"not JSON":          "{",
		"empty":             "",
	} {
		if _, err := openCheckpoint(localFile{path: fileOf(t, text)}, []byte(read(t, set))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
