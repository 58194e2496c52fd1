package snapshot

import (
	"strings"
	"testing"
)

// A cursor of the gateway feed that is read is one that was written.
func FuzzFleetCursor(f *testing.F) {
	for _, seed := range []string{"", fleetPosition{1, 2, [16]byte{3}}.encodeCursor(), "AgAA", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Av__________________________________________"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		if p, err := parseFleetCursor(cursor); err == nil && cursor != "" && p.encodeCursor() != cursor && !strings.ContainsAny(cursor, "\r\n") {
			t.Errorf("%q is also %q", cursor, p.encodeCursor())
		}
	})
}
