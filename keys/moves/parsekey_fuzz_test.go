package moves

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/keystest"
	"github.com/keyward/keyward/keys/tokens"
)

// FuzzImportPrivateKey: whatever is brought in, either a key comes of it that
// signs what its public half verifies, or a refusal that names the field.
func FuzzImportPrivateKey(f *testing.F) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.ES512, jose.EdDSA, jose.RS256, jose.MLDSA44} {
		for _, text := range written(keystest.Signer(keystest.PrivateKey(f, alg))) {
			f.Add([]byte(text), string(alg))
		}
	}
	for name, c := range keyFiles {
		f.Add(keyFile(f, name), string(c.alg))
	}
	for _, c := range refusedPrivateKeys(f) {
		f.Add([]byte(c.text), string(c.alg))
	}
	f.Fuzz(func(t *testing.T, material []byte, alg string) {
		c, err := PrivateImport{Key: material, Alg: jose.SignatureAlgorithm(alg)}.parseCandidate()
		if err != nil {
			refusedPolitely(t, err)
			return
		}
		if !keys.ValidKID(c.kid) || !c.private.Matches() || c.origin != keys.Imported {
			t.Errorf("%s %s", c.kid, c.jwk)
		}
		onlyPublicMembers(t, c.jwk)
		der, err := c.private.PKCS8()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.ParsePKCS8(c.alg, der); err != nil {
			t.Errorf("what was imported cannot be opened again: %v", err)
		}
	})
}

// FuzzImportPublicKeys is the same for public keys: what enters is a public JWK
// that every reader of a JWKS can parse.
func FuzzImportPublicKeys(f *testing.F) {
	for _, alg := range keys.Algorithms() {
		jwk := must(keys.PublicJWK(keystest.PrivateKey(f, alg).Public(), alg, "k"))
		f.Add([]byte(jwk), string(alg))
		f.Add([]byte(`{"keys":[`+string(jwk)+`,`+edit(string(jwk), map[string]any{"use": "enc"})+`]}`), "")
		f.Add(must(keys.PublicPEM(keystest.PrivateKey(f, alg).Public())), string(alg))
	}
	f.Fuzz(func(t *testing.T, material []byte, alg string) {
		cs, _, err := PublicImport{Key: material, Alg: jose.SignatureAlgorithm(alg)}.parseCandidates()
		if err != nil {
			refusedPolitely(t, err)
			return
		}
		if len(cs) == 0 || len(cs) > keyfile.MaxKeys {
			t.Errorf("%d keys", len(cs))
		}
		for _, c := range cs {
			onlyPublicMembers(t, c.jwk)
			if _, err := keys.ParsePublicJWK(c.alg, c.jwk); err != nil || !keys.ValidKID(c.kid) || !c.private.IsZero() {
				t.Errorf("%s: %v", c.jwk, err)
			}
		}
	})
}

func refusedPolitely(t *testing.T, err error) {
	t.Helper()
	var refused *tokens.ClaimError
	if !errors.As(err, &refused) || refused.Field == "" || refused.Message == "" {
		t.Fatalf("not refused as it should be: %v", err)
	}
}

func onlyPublicMembers(t *testing.T, jwk []byte) {
	t.Helper()
	var members map[string]string
	if err := json.Unmarshal(jwk, &members); err != nil {
		t.Fatal(err)
	}
	for name := range members {
		if !slices.Contains([]string{"kty", "kid", "use", "alg", "crv", "x", "y", "n", "e", "pub"}, name) {
			t.Errorf("%s has %q", members["alg"], name)
		}
	}
}
