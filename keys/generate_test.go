package keys

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestAlgorithms(t *testing.T) {
	want := "ES256 ES384 ES512 EdDSA Ed25519 RS256 RS384 RS512 PS256 PS384 PS512 ML-DSA-44 ML-DSA-65 ML-DSA-87"
	var got []string
	for _, alg := range Algorithms() {
		got = append(got, string(alg))
		if parsed, err := ParseAlgorithm(string(alg)); parsed != alg || err != nil {
			t.Errorf("%s: %q, %v", alg, parsed, err)
		}
	}
	if strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	for _, name := range []string{"", "none", "HS256", "es256", "ES256K", "Ed448", "RSA-OAEP", "ML-DSA", "ml-dsa-44", "HashML-DSA-44"} {
		_, err := ParseAlgorithm(name)
		if !errors.Is(err, ErrUnsupportedAlgorithm) || !strings.Contains(err.Error(), "ES256, ES384") {
			t.Errorf("%q: %v", name, err)
		}
		if KeyType(jose.SignatureAlgorithm(name)) != "" {
			t.Errorf("%q has a key type", name)
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, bits := range []int{1, 1024, 2047, 2049, 8192, -1} {
		if _, err := Generate(jose.PS256, bits); !errors.Is(err, ErrKeyMaterial) {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
	if _, err := Generate("none", 0); !errors.Is(err, ErrUnsupportedAlgorithm) {
		t.Error(err)
	}
}
