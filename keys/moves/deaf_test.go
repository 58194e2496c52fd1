package moves

import (
	"log/slog"
	"testing"

	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys/snapshot"
)

// A process that hears nothing is not among those that a change waits for, so it signs
// with nothing that it read before the request.
func TestDeafProcessSignsWithWhatItReads(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	deaf := snapshot.New(snapshot.Config{
		DB: p.db, PublicURL: "https://keys.example", Now: p.clock.Now, Log: slog.New(slog.DiscardHandler), Authority: p.custody.Authority(),
		HeardUntil: func() age.Instant { return age.Instant{} },
	})
	for i := range 5 {
		before, err := deaf.Fresh(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.store.Rotate(t.Context(), tester, acme.ID, RotateRequest{}); err != nil {
			t.Fatal(err)
		}
		if after, err := deaf.Fresh(t.Context(), "acme"); err != nil || after.Version <= before.Version {
			t.Errorf("%d: %v: version %d after %d", i, err, after.Version, before.Version)
		}
	}
}
