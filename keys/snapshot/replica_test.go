package snapshot

import (
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/internal/age"
)

// The position that a standby must have replayed, beat by beat.
func TestReplicaTracker(t *testing.T) {
	r, now := newReplicaTracker(), age.Now()
	a, b := uuid.New(), uuid.New()
	expect := func(when string, id uuid.UUID, place uint64, want bool) {
		t.Helper()
		if got := r.isCurrent(id, place, now); got != want {
			t.Errorf("%s: current at %d is %v", when, place, got)
		}
	}
	r.recordBeat(10, now)
	expect("before two beats", a, 1000, false)
	r.recordBeat(20, now)
	expect("behind the floor", a, 19, false)
	expect("at the floor", a, 20, true)
	r.recordChange(a)
	expect("just changed", a, 1000, false)
	expect("another", b, 20, true)
	r.recordBeat(30, now) // may have been queried before the notification of the change
	expect("one beat later", a, 30, false)
	r.recordBeat(40, now)
	expect("behind the change", a, 39, false)
	expect("beyond it", a, 40, true)
	r.recordBeat(50, now)
	now = now.Step(maxReplicaLag)
	expect("behind for long", b, 49, false)
	expect("there again", b, 50, true)
	r.recordGap()
	expect("notifications lost", b, 1000, false)
	for range maxChangedTenants + 1 {
		r.recordChange(uuid.New())
	}
	if len(r.changedAfter) > maxChangedTenants {
		t.Errorf("%d tenants are tracked", len(r.changedAfter))
	}
}
