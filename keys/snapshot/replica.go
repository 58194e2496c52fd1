package snapshot

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// replicaLag is how long a standby may stay behind a place in the primary's
// log before nothing of it is used until it gets there: it may follow nobody
// any more, or somebody else.
const replicaLag = 10 * time.Second

// maxHeard bounds the tenants that are remembered to have changed.
const maxHeard = 1 << 17

// replica decides whether what a standby says of a tenant is as late as what
// this process has heard. A change is in the primary's log before anybody hears
// of it, so a standby that has replayed the log beyond a place which the
// primary told after that has it. Until then the tenant is read from the
// primary.
//
// Beats are numbered. What was heard before beat n was told lies below the
// place of beat n+1, which was asked for later.
type replica struct {
	mu       sync.Mutex
	beats    int64
	heard    map[uuid.UUID]int64 // changed tenants and the beat they followed
	lost     bool                // changes may have gone unheard since beat lostAt
	lostAt   int64
	floor    uint64 // the standby must have got here; all that is not in heard lies below
	mark     uint64 // the next floor; 0: none
	markBeat int64
	markedAt time.Time
}

func newReplica() *replica { return &replica{lost: true, heard: map[uuid.UUID]int64{}} }

// changed is told of a tenant that changed.
func (r *replica) changed(id uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.heard) >= maxHeard {
		r.forget()
	}
	r.heard[id] = r.beats
}

// missed is told that changes may have gone unheard.
func (r *replica) missed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
}

// forget gives up what was heard: all of it lies below the place of the beat
// after the next.
func (r *replica) forget() {
	r.heard, r.lost, r.lostAt, r.mark = map[uuid.UUID]int64{}, true, r.beats, 0
}

// beat is told how far the primary's log has got.
func (r *replica) beat(place uint64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beats++
	switch {
	case r.lost && r.beats-r.lostAt >= 2:
		r.lost = false
		r.raise(place, r.beats)
	case !r.lost && r.mark == 0:
		r.mark, r.markBeat, r.markedAt = place, r.beats, now
	}
}

// raise demands that the standby has got to the place of a beat, and forgets
// what lies below it.
func (r *replica) raise(place uint64, beat int64) {
	r.floor = place
	for id, after := range r.heard {
		if after <= beat-2 {
			delete(r.heard, id)
		}
	}
}

// knows says whether a standby that has got to a place says of a tenant what
// this process has heard of, or something later.
func (r *replica) knows(id uuid.UUID, place uint64, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mark != 0 && place >= r.mark {
		r.raise(r.mark, r.markBeat)
		r.mark = 0
	}
	_, changed := r.heard[id]
	return !r.lost && !changed && place >= r.floor && (r.mark == 0 || now.Sub(r.markedAt) < replicaLag)
}
