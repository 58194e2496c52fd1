package keystest

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
)

var made = struct {
	sync.Mutex
	byKind map[string]keys.Private
}{byKind: map[string]keys.Private{}}

// PrivateKey makes one key per algorithm for the whole test run: RSA is slow.
func PrivateKey(t testing.TB, alg jose.SignatureAlgorithm) keys.Private {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	kind := string(alg)
	if keys.KeyType(alg) == "RSA" {
		kind = "RSA"
	}
	p, found := made.byKind[kind]
	if !found {
		var err error
		if p, err = keys.Generate(alg, 0); err != nil {
			t.Fatal(err)
		}
		made.byKind[kind] = p
	}
	p, err := p.WithAlgorithm(alg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Signer returns the key inside a [keys.Private], which a test writes in other
// forms.
func Signer(p keys.Private) crypto.Signer {
	return Must(x509.ParsePKCS8PrivateKey(Must(p.PKCS8()))).(crypto.Signer)
}

// Must returns v, and panics with err if there is one.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Base64 is base64url without padding (RFC 7515 section 2).
func Base64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
