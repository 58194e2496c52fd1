package jwks

import (
	"strings"
	"testing"

	"github.com/keyward/keyward/internal/strictjson"
)

// What Keyward signs at most, a verifier reads.
func TestDeepestSignedObjectIsRead(t *testing.T) {
	inside := strictjson.MaxDepth - 1
	text := `{"a":` + strings.Repeat("[", inside) + strings.Repeat("]", inside) + `}`
	if err := strictjson.Check([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if !eachMember(text, func(string, string) {}) {
		t.Errorf("an object of %d levels is not read", strictjson.MaxDepth)
	}
}
