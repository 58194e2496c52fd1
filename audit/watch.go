package audit

import (
	"sync"

	"github.com/google/uuid"
)

// watches wake those who wait for events. A waiter that is awake already is
// not woken twice, so that telling never waits and holds one bit per waiter.
type watches struct {
	mu  sync.Mutex
	of  map[uuid.UUID]map[chan struct{}]bool
	all map[chan struct{}]bool
}

func newWatches() *watches {
	return &watches{of: map[uuid.UUID]map[chan struct{}]bool{}, all: map[chan struct{}]bool{}}
}

// Watch wakes its caller when one of the tenants, or any if none is named, may
// have new events, until stop is called. It is told by [Store.Changed] and
// [Store.Missed]; who must not miss an event looks for itself now and then.
func (s *Store) Watch(tenantIDs ...uuid.UUID) (woken <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	s.watches.add(c, tenantIDs)
	return c, func() { s.watches.remove(c, tenantIDs) }
}

// Changed tells that a transaction about a tenant was committed, by this
// process or another.
func (s *Store) Changed(tenantID uuid.UUID) {
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	wake(s.watches.of[tenantID])
	wake(s.watches.all)
}

// Missed tells that any tenant may have changed.
func (s *Store) Missed() {
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	for _, waiting := range s.watches.of {
		wake(waiting)
	}
	wake(s.watches.all)
}

func wake(waiting map[chan struct{}]bool) {
	for c := range waiting {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (w *watches) add(c chan struct{}, tenantIDs []uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(tenantIDs) == 0 {
		w.all[c] = true
	}
	for _, id := range tenantIDs {
		if w.of[id] == nil {
			w.of[id] = map[chan struct{}]bool{}
		}
		w.of[id][c] = true
	}
}

func (w *watches) remove(c chan struct{}, tenantIDs []uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, c)
	for _, id := range tenantIDs {
		if delete(w.of[id], c); len(w.of[id]) == 0 {
			delete(w.of, id)
		}
	}
}
