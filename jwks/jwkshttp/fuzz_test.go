package jwkshttp

import (
	"strings"
	"testing"
)

// A token that is found is one word of the field.
func FuzzParseBearer(f *testing.F) {
	for _, seed := range []string{"Bearer a.b.c", "bearer  x ", "Bearer", "Bearer a, Bearer b", "Basic eA==", "Bearer\tx", `Bearer "x"`, "\u212A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		token, err := ParseBearer(field)
		if err != nil && token != "" || strings.ContainsAny(token, " ,\t\"") || !strings.HasSuffix(strings.TrimRight(field, " "), token) {
			t.Errorf("%q: %q, %v", field, token, err)
		}
	})
}
