package moves

import (
	"strings"
	"testing"

	"github.com/keyward/keyward/keys"
)

// A cursor of the list of keys leads to a time that PostgreSQL has and to a kid that a key can
// have.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "MTc2MyB4", "LTEgeA", "OTIyMzM3MjAzNjg1NDc3NTgwNyB4", "MSAA", "MSAgeA", "K", "=="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := parseCursor(cursor)
		if err == nil && cursor != "" && (!keys.ValidKID(p.kid) || strings.ContainsRune(p.kid, 0) || p.createdAt.Year() < 1970 || p.createdAt.Year() > 9999) {
			t.Errorf("%q: %v %q", cursor, p.createdAt, p.kid)
		}
	})
}
