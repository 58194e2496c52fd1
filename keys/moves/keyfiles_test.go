package moves

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/tokens"
)

// keyFiles are what OpenSSL 3 writes, made for this test and used nowhere else,
// and what a refusal has to say; empty: the key is imported.
var keyFiles = map[string]struct {
	alg jose.SignatureAlgorithm
	say string
}{
	"rsa.pem":              {jose.PS256, ""},
	"rsa-pkcs1.pem":        {jose.RS512, ""},
	"ec-sec1.pem":          {jose.ES256, ""}, // EC PARAMETERS first
	"ed25519.pem":          {keys.Ed25519, ""},
	"ec-explicit.pem":      {jose.ES256, "curve as numbers"},
	"secp256k1.pem":        {jose.ES256, "cannot be read"},
	"ed448.pem":            {jose.EdDSA, "cannot be read"},
	"x25519.pem":           {jose.EdDSA, "cannot sign"},
	"x448.pem":             {jose.EdDSA, "cannot be read"},
	"rsa-pss.pem":          {jose.PS256, ""}, // id-RSASSA-PSS (RFC 8017 appendix A.2.3)
	"rsa-e3.pem":           {jose.RS256, "exponent below 65537"},
	"rsa-3primes.pem":      {jose.RS256, "two primes"},
	"encrypted-pkcs8.pem":  {jose.ES256, "openssl pkey"},
	"encrypted-legacy.pem": {jose.ES256, "openssl pkey"},
	"cert.pem":             {jose.ES256, "openssl x509"},
	"csr.pem":              {jose.ES256, "openssl req"},
	"cut-off.pem":          {jose.RS256, "END line"},
	"headless.pem":         {jose.ES256, "neither PEM"},
}

func TestKeyFilesOfOpenSSL(t *testing.T) {
	for name, c := range keyFiles {
		_, err := PrivateImport{Key: keyFile(t, name), Alg: c.alg}.parseCandidate()
		var refused *tokens.ClaimError
		if errors.As(err, &refused) != (c.say != "") || (err != nil && !strings.Contains(err.Error(), c.say)) {
			t.Errorf("%s: %v, want %q", name, err, c.say)
		}
	}
	if found, _ := filepath.Glob("testdata/import/*"); len(found) != len(keyFiles) {
		t.Errorf("%d files, %d are tried", len(found), len(keyFiles))
	}
}

func keyFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "import", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
