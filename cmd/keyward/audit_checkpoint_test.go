package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
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
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}},
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
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return fileOf(t, compact+"\n"), fileOf(t, string(public))
}
