package interop

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// signingWith is a tenant that signs with all these algorithms, ES256 among them.
func signingWith(t *testing.T, algorithms []string) *tenant {
	t.Helper()
	var policies []object
	for _, alg := range algorithms {
		policies = append(policies, object{"alg": alg, "default": alg == "ES256"})
	}
	return newTenant(t, object{"policies": policies})
}

func isPostQuantum(alg string) bool { return slices.Contains(postQuantum, alg) }

// TestAlgorithms has one JWKS with keys of all fourteen algorithms. It shows, too,
// that a key with a type or label a library does not know spoils no other key for it,
// except for the strict ones, which get a set without the new key type.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	all, classic := signingWith(t, algorithms), signingWith(t, slices.DeleteFunc(slices.Clone(algorithms), isPostQuantum))
	for _, l := range libraries {
		tn, algorithms := all, algorithms
		if l.strict {
			tn, algorithms = classic, slices.DeleteFunc(slices.Clone(algorithms), isPostQuantum)
		}
		t.Run(l.name, func(t *testing.T) {
			if l.node && clients == nil {
				t.Skip(noNode)
			}
			for _, alg := range algorithms {
				v := verifiers{{library: l, verify: l.open(t, tn, alg)}}
				tok := tn.token(t, alg)
				if tok.Alg != alg {
					t.Fatalf("a token by %s, want %s", tok.Alg, alg)
				}
				if slices.Contains(l.lacks, alg) {
					v.refuse(t, alg+" today (if it has learned it, change the table)", tok)
				} else {
					v.accept(t, alg, tok)
				}
			}
		})
	}
}

// A strict library refuses the whole set. If it has learned the type, or to skip it,
// change the table and docs/algorithms.md.
func TestStrictLibrariesRefuseASetWithAKP(t *testing.T) {
	t.Parallel()
	tn := signingWith(t, []string{"ES256", "ML-DSA-44"})
	answer, err := http.Get(tn.jwks)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwk.Parse(text); err == nil || !strings.Contains(err.Error(), "AKP") {
		t.Errorf("jwx reads %s: %v", text, err)
	}
	set, err := jwk.Parse(text, jwk.WithIgnoreParseError(true))
	if err != nil || set.Len() != 2 {
		t.Errorf("jwx, told to ignore what it cannot read: %v, %v", set, err)
	}
	if _, err := jwt.ParseString(tn.token(t, "ES256").Token, jwt.WithKeySet(set), jwt.WithIssuer(tn.issuer), jwt.WithAudience(audience)); err != nil {
		t.Errorf("jwx, told to ignore what it cannot read: %v", err)
	}
}

// Signatures of ML-DSA verify with implementations of FIPS 204 that nobody here
// wrote: in JavaScript by Paul Miller's @noble/post-quantum. It refuses a forged one.
func TestMLDSABySomebodyElse(t *testing.T) {
	t.Parallel()
	if clients == nil {
		t.Skip(noNode)
	}
	tn := signingWith(t, append([]string{"ES256"}, postQuantum...))
	for _, alg := range postQuantum {
		noble := verifiers{{library: library{name: "noble"}, verify: openNode("noble")(t, tn, alg)}}
		for range 3 {
			tok := tn.token(t, alg)
			noble.accept(t, alg, tok)
			at := len(tok.Token) - 100
			tok.Token = tok.Token[:at] + strings.Map(func(c rune) rune { return map[bool]rune{true: 'B', false: 'A'}[c == 'A'] }, tok.Token[at:at+1]) + tok.Token[at+1:]
			noble.refuse(t, "a forged "+alg, tok)
		}
	}
}

// eachAlgorithm runs a test for every algorithm, all of them at once.
func eachAlgorithm(t *testing.T, test func(t *testing.T, alg string)) {
	t.Parallel()
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			test(t, alg)
		})
	}
}

// byHand is a tenant that nothing happens to by itself while a test runs.
func byHand(t *testing.T, alg string) *tenant {
	t.Helper()
	return newTenant(t, object{"policies": []object{{"alg": alg, "rotation_interval_seconds": 0}}})
}
