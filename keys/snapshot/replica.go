package snapshot

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/internal/age"
)

// maxReplicaLag is how long a standby may lag behind a position of the primary's log
// before its answers are ignored until it catches up: its replication may have stopped,
// or it may follow another server.
const maxReplicaLag = 10 * time.Second

// maxChangedTenants bounds the changed tenants that are tracked.
const maxChangedTenants = 1 << 17

// replicaTracker decides whether a standby's answer about a tenant includes every change
// that this process was notified of. A change is in the primary's log before its
// notification arrives, so a standby has it once it has replayed the log beyond a
// position that the primary reported afterwards. Until then the tenant is read from the
// primary.
//
// Beats are numbered. A change that was notified before beat n arrived lies below the
// position of beat n+1, which was queried later.
type replicaTracker struct {
	mu           sync.Mutex
	beats        int64
	changedAfter map[uuid.UUID]int64 // changed tenants, and the number of the beat before
	lost         bool                // notifications may have been lost since beat lostAt
	lostAt       int64
	floor        uint64 // the standby must have replayed up to here; every change not in heard lies below
	mark         uint64 // the next floor; 0: none
	markBeat     int64
	markedAt     age.Instant
}

func newReplicaTracker() *replicaTracker {
	return &replicaTracker{lost: true, changedAfter: map[uuid.UUID]int64{}}
}

// recordChange records that a tenant changed.
func (r *replicaTracker) recordChange(id uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.changedAfter) >= maxChangedTenants {
		r.reset()
	}
	r.changedAfter[id] = r.beats
}

// recordGap records that notifications may have been lost.
func (r *replicaTracker) recordGap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reset()
}

// reset drops the changes tracked so far: all of them lie below the position of the beat
// after the next.
func (r *replicaTracker) reset() {
	r.changedAfter, r.lost, r.lostAt, r.mark = map[uuid.UUID]int64{}, true, r.beats, 0
}

// recordBeat records the current position of the primary's log.
func (r *replicaTracker) recordBeat(place uint64, now age.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beats++
	switch {
	case r.lost && r.beats-r.lostAt >= 2:
		r.lost = false
		r.raiseFloor(place, r.beats)
	case !r.lost && r.mark == 0:
		r.mark, r.markBeat, r.markedAt = place, r.beats, now
	}
}

// raiseFloor requires the standby to have reached the position of a beat, and drops the
// changes below it.
func (r *replicaTracker) raiseFloor(place uint64, beat int64) {
	r.floor = place
	for id, after := range r.changedAfter {
		if after <= beat-2 {
			delete(r.changedAfter, id)
		}
	}
}

// isCurrent reports whether a standby that has replayed the log up to place has every
// change of the tenant that this process was notified of.
func (r *replicaTracker) isCurrent(id uuid.UUID, place uint64, now age.Instant) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mark != 0 && place >= r.mark {
		r.raiseFloor(r.mark, r.markBeat)
		r.mark = 0
	}
	_, changed := r.changedAfter[id]
	return !r.lost && !changed && place >= r.floor && (r.mark == 0 || r.markedAt.Within(maxReplicaLag, now))
}
