package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/client"
)

// Any kid is an argument after --, and a value of --kid=.
func TestForeignKIDsAsArguments(t *testing.T) {
	env := served(t)
	for _, kid := range []string{
		"J4j+I06r0I0vpYnBNucugV8xAPV5/Xv4uYrrpwwSNK0=", "public:hydra.openid.id-token", "https://vault.azure.net/keys/a/b?v=1#2", ".", "..", "a/../b", "%2F", "a b", " a ",
		"-rf", "--help", "--", "rotate", "é", "@file", "<b>", `a"b`, strings.Repeat("x", 256),
	} {
		file := filepath.Join(t.TempDir(), "key.json")
		text, err := json.Marshal(jose.JSONWebKey{Key: newKey(t).Public(), KeyID: kid, Algorithm: "EdDSA"})
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		keyward(t, env, "key", "import", "--tenant=acme", "--jwks="+file).want(t, exitOK, "(EdDSA) is deprecated")
		r := keyward(t, env, "key", "show", "--tenant=acme", "--json", "--", kid)
		r.want(t, exitOK)
		var k client.Key
		if err := json.Unmarshal([]byte(r.stdout), &k); err != nil || k.KID != kid {
			t.Errorf("%q is shown as %q: %v", kid, k.KID, err)
		}
		keyward(t, env, "key", "show", "--tenant=acme", "--pem", "--", kid).want(t, exitOK, "-----BEGIN PUBLIC KEY-----")
		keyward(t, env, "key", "revoke", "--tenant=acme", "--reason=superseded", "--yes", "--", kid).want(t, exitOK)
		r = keyward(t, env, "audit", "list", "--tenant=acme", "--kid="+kid, "--json")
		r.want(t, exitOK, "key.imported", "key.revoked")
		var events client.AuditEventList
		if err := json.Unmarshal([]byte(r.stdout), &events); err != nil || len(events.Items) != 2 || *events.Items[0].KID != kid {
			t.Errorf("%q: %s %v", kid, r.stdout, err)
		}
	}
}

// Tokens of systems that write no iss verify, with the checks that one asks for.
func TestTokenVerifyFlags(t *testing.T) {
	env := served(t)
	key := newKey(t)
	_, public, _, _ := onDisk(t, key, "old")
	keyward(t, env, "key", "import", "--tenant=acme", "--pem="+public, "--alg=EdDSA", "--kid=old").want(t, exitOK)
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	input := part(`{"alg":"EdDSA","kid":"old"}`) + "." + part(fmt.Sprintf(`{"sub":"alice","exp":%d}`, time.Now().Add(time.Hour).Unix()))
	token := input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
	verify := func(flags ...string) result {
		return keyward(t, env, append([]string{"token", "verify", "--tenant=acme", token}, flags...)...)
	}
	verify().want(t, exitFailed, "wrong_issuer")
	verify("--any-issuer").want(t, exitOK)
	verify("--any-issuer", "--algorithm=RS256", "--algorithm=EdDSA", "--required-claim=sub").want(t, exitOK)
	verify("--any-issuer", "--algorithm=RS256").want(t, exitFailed, "algorithm_not_allowed")
	verify("--any-issuer", "--required-claim=sub", "--required-claim=jti").want(t, exitFailed, "jti")
	verify("--any-issuer", "--issuer=https://a.example").want(t, exitUsage)
}
