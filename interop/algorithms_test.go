package interop

import (
	"slices"
	"testing"
)

// TestAlgorithms has one JWKS with keys of all eleven algorithms. It shows, too,
// that a key with a label a library does not know spoils no other key for it.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	var policies []object
	for _, alg := range algorithms {
		policies = append(policies, object{"alg": alg, "default": alg == "ES256"})
	}
	tn := newTenant(t, object{"policies": policies})
	for _, l := range libraries {
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
