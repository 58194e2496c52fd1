package moves

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// RateError refuses a rotation or a new policy of a tenant that has had its share of RSA
// keys, until RetryAfter has passed.
type RateError struct{ RetryAfter time.Duration }

// RetryIn returns RetryAfter.
func (e *RateError) RetryIn() time.Duration { return e.RetryAfter }

// Error returns a message that names the reason.
func (e *RateError) Error() string {
	return fmt.Sprintf("keys: the tenant has reached its rate of new RSA keys; retry in %s", e.RetryAfter)
}

// slots bound the RSA keys that are generated at a time while callers wait. No tenant has
// more than share of them, and a free slot goes to the waiting tenant that has the fewest,
// of several to the one that was served longest ago, so that the keys of one tenant wait
// for keys of its own. New tenants, which only the platform makes, count as one.
type slots struct {
	share int

	mu      sync.Mutex
	free    int
	taken   map[uuid.UUID]int
	waiting []*slotWaiter        // in the order of their arrival
	served  map[uuid.UUID]uint64 // the number of the tenant's last grant, while it has a slot or waits
	grants  uint64
}

type slotWaiter struct {
	tenantID uuid.UUID
	granted  chan struct{} // closed under the lock of slots
}

func newSlots(n int) *slots {
	return &slots{share: max(1, n/2), free: n, taken: map[uuid.UUID]int{}, served: map[uuid.UUID]uint64{}}
}

// enter returns when the tenant has a slot, which leave gives back. Errors: that of ctx.
func (s *slots) enter(ctx context.Context, tenantID uuid.UUID) (leave func(), err error) {
	w := &slotWaiter{tenantID, make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.grant()
	s.mu.Unlock()
	select {
	case <-w.granted:
		return func() { s.leave(tenantID) }, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.waiting, w)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.forget(tenantID)
	}
	s.mu.Unlock()
	if i < 0 { // it was granted meanwhile
		s.leave(tenantID)
	}
	return nil, ctx.Err()
}

func (s *slots) leave(tenantID uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.taken[tenantID]--; s.taken[tenantID] == 0 {
		delete(s.taken, tenantID)
		s.forget(tenantID)
	}
	s.grant()
}

// forget drops what is known of a tenant that neither has a slot nor waits. The caller
// holds the lock.
func (s *slots) forget(tenantID uuid.UUID) {
	if s.taken[tenantID] == 0 && !slices.ContainsFunc(s.waiting, func(w *slotWaiter) bool { return w.tenantID == tenantID }) {
		delete(s.served, tenantID)
	}
}

// grant gives free slots away. The caller holds the lock.
func (s *slots) grant() {
	for s.free > 0 {
		next := -1
		for i, w := range s.waiting {
			if s.taken[w.tenantID] < s.share && (next < 0 || s.before(w.tenantID, s.waiting[next].tenantID)) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := s.waiting[next]
		s.waiting = slices.Delete(s.waiting, next, next+1)
		s.free--
		s.grants++
		s.taken[w.tenantID]++
		s.served[w.tenantID] = s.grants
		close(w.granted)
	}
}

// before reports whether a tenant comes before another one that waits as well.
func (s *slots) before(a, b uuid.UUID) bool {
	return cmp.Or(cmp.Compare(s.taken[a], s.taken[b]), cmp.Compare(s.served[a], s.served[b])) < 0
}

// usage counts the RSA keys that each tenant has had lately: Burst at once, and one more
// after each Every. A tenant whose use is over by now is forgotten.
type usage struct {
	every time.Duration // 0: nothing is counted
	burst int

	mu    sync.Mutex
	until map[uuid.UUID]time.Time // when the tenant has its whole burst again
	sweep int                     // number of tenants at which those whose use is over are dropped
}

func newUsage(every time.Duration, burst int) *usage {
	return &usage{every: every, burst: burst, until: map[uuid.UUID]time.Time{}, sweep: 1024}
}

// note counts a key.
func (u *usage) note(tenantID uuid.UUID, now time.Time) {
	if u.every == 0 || tenantID == uuid.Nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	most := now.Add(time.Duration(u.burst) * u.every) // what emergencies take beyond the rate is not paid back
	until := u.until[tenantID]
	if until.Before(now) {
		until = now
	}
	if until = until.Add(u.every); until.After(most) {
		until = most
	}
	u.until[tenantID] = until
	if len(u.until) < u.sweep {
		return
	}
	for id, until := range u.until {
		if until.Before(now) {
			delete(u.until, id)
		}
	}
	u.sweep = max(1024, 2*len(u.until))
}

// wait returns how long to wait until the tenant may have n more keys.
func (u *usage) wait(tenantID uuid.UUID, n int, now time.Time) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return max(0, u.until[tenantID].Add(time.Duration(min(n, u.burst)-u.burst)*u.every).Sub(now))
}

// frequent reports whether a tenant has had more than half of its burst lately. Such a
// one leaves the last half of the ready keys to others.
func (u *usage) frequent(tenantID uuid.UUID, now time.Time) bool {
	return u.every > 0 && u.wait(tenantID, u.burst-u.burst/2, now) > 0
}

// checkKeys returns a *tenant.LimitError if a tenant with n more keys would have too
// many. A key that was made and purged lately counts too, since its row is kept. Rotations
// by schedule and revocations are not checked: a key that is not replaced would be worse
// than one too many.
func (s *Store) checkKeys(ctx context.Context, tx *db.Tx, l *ledger, n int) error {
	room := s.cfg.MaxKeys - len(l.keys) - n
	if room >= 0 && l.head.Seq > int64(room) { // every purged key has an event
		purged, err := tx.CountPurgedKeys(ctx, l.tenant.ID, l.at.Add(-tenant.CountedFor), int32(room)+1)
		if err != nil {
			return err
		}
		room -= int(purged)
	}
	if room >= 0 {
		return nil
	}
	return &tenant.LimitError{What: "keys that are not purged, or were made within 24 hours,", Limit: s.cfg.MaxKeys}
}
