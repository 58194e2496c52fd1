package snapshot

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// What a standby must have replayed, beat by beat.
func TestWhatAStandbyKnows(t *testing.T) {
	r, now := newReplica(), time.Now()
	a, b := uuid.New(), uuid.New()
	expect := func(when string, id uuid.UUID, place uint64, want bool) {
		t.Helper()
		if got := r.knows(id, place, now); got != want {
			t.Errorf("%s: knows at %d is %v", when, place, got)
		}
	}
	r.beat(10, now)
	expect("before two beats", a, 1000, false)
	r.beat(20, now)
	expect("behind the floor", a, 19, false)
	expect("at the floor", a, 20, true)
	r.changed(a)
	expect("just changed", a, 1000, false)
	expect("another", b, 20, true)
	r.beat(30, now) // may have been asked for before the change was heard of
	expect("one beat later", a, 30, false)
	r.beat(40, now)
	expect("behind the change", a, 39, false)
	expect("beyond it", a, 40, true)
	r.beat(50, now)
	now = now.Add(replicaLag)
	expect("behind for long", b, 49, false)
	expect("there again", b, 50, true)
	r.missed()
	expect("deaf", b, 1000, false)
	for range maxHeard + 1 {
		r.changed(uuid.New())
	}
	if len(r.heard) > maxHeard {
		t.Errorf("%d tenants are remembered", len(r.heard))
	}
}
