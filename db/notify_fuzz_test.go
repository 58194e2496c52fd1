package db

import (
	"testing"

	"github.com/google/uuid"
)

// Every login of the database may notify: what is no change of a tenant is none.
func FuzzChangePayload(f *testing.F) {
	for _, seed := range []string{ChangePayload(uuid.Max, "acme"), "", " ", uuid.Max.String(), "{" + uuid.Max.String() + "} x", "urn:uuid:" + uuid.Max.String(), "\x00", uuid.Max.String() + " a b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		id, ref, ok := parseChangePayload(payload)
		if again, same, fine := parseChangePayload(ChangePayload(id, ref)); ok && (!fine || again != id || same != ref) {
			t.Errorf("%q: %s %q", payload, id, ref)
		}
	})
}
