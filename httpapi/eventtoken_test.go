package httpapi

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
)

// Each action of a key has one change type of CAEP.
func TestChangeTypes(t *testing.T) {
	for action, want := range map[audit.Action]string{
		audit.KeyCreated: "create", audit.KeyImported: "create", audit.KeyActivated: "update", audit.KeyDeprecated: "update",
		audit.KeyRevoked: "revoke", audit.KeyExpired: "delete", audit.KeyPurged: "delete",
	} {
		e := audit.Event{Action: action, KID: "k", Tenant: "acme", At: time.Unix(1000, 0)}
		got := newEventToken("https://p", "https://t", e, uuid.New(), "https://r", time.Unix(1001, 0))
		if k := got.Events[credentialChange].(keyChange); k.ChangeType != want || got.Time != 1000 || got.IssuedAt != 1001 {
			t.Errorf("%s: %+v", action, got)
		}
	}
}
