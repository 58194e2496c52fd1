package webhook

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// lane is a set of slots, each for one request at a time. There is one for slow
// receivers and one for all others, so that slow receivers cannot use up all slots.
type lane struct {
	slow  bool // only for webhooks in slowWebhooks
	slots int
	share int // of the slots, for one tenant

	mu   sync.Mutex
	used int
	busy map[uuid.UUID]int // slots in use by tenant
}

// newLanes divides the slots of a process: three quarters for fast receivers, of
// which a tenant gets a third, and a quarter for slow ones, of which a tenant gets
// half. With fewer than four slots there is one lane for all.
func newLanes(slots int) []*lane {
	slow := slots / 4
	lanes := []*lane{newLane(false, slots-slow, 3)}
	if slow > 0 {
		lanes = append(lanes, newLane(true, slow, 2))
	}
	return lanes
}

func newLane(slow bool, slots, divisor int) *lane {
	return &lane{slow: slow, slots: slots, share: max(1, slots/divisor), busy: map[uuid.UUID]int{}}
}

func (l *lane) take(tenantID uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used++
	l.busy[tenantID]++
}

func (l *lane) release(tenantID uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used--
	if l.busy[tenantID]--; l.busy[tenantID] == 0 {
		delete(l.busy, tenantID)
	}
}

// laneUse is a snapshot of a lane's use. Its slices are never nil, because NULL
// matches nothing in SQL.
type laneUse struct {
	free        int
	busyTenants []uuid.UUID
	busyCounts  []int32
	fullTenants []uuid.UUID // those that use their whole share
}

func (l *lane) use() laneUse {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := laneUse{free: l.slots - l.used, busyTenants: []uuid.UUID{}, busyCounts: []int32{}, fullTenants: []uuid.UUID{}}
	for id, n := range l.busy {
		u.busyTenants, u.busyCounts = append(u.busyTenants, id), append(u.busyCounts, int32(n))
		if n >= l.share {
			u.fullTenants = append(u.fullTenants, id)
		}
	}
	return u
}

// slowMemory is the time for which a webhook stays in the slow lane after a slow
// attempt. A receiver that is slow only now and then stays there.
const slowMemory = 10 * time.Minute

// slowWebhooks remembers the webhooks whose receivers took long to answer. Every
// entry stands for an attempt of a second or more within slowMemory, so that the
// number of slots bounds their number.
type slowWebhooks struct {
	mu    sync.Mutex
	until map[uuid.UUID]time.Time
}

func (s *slowWebhooks) add(id uuid.UUID, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = map[uuid.UUID]time.Time{}
	}
	s.until[id] = now.Add(slowMemory)
}

// ids returns the slow webhooks and removes expired entries. It never returns nil.
func (s *slowWebhooks) ids(now time.Time) []uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := []uuid.UUID{}
	for id, until := range s.until {
		if now.After(until) {
			delete(s.until, id)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}
