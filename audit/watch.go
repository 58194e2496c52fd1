package audit

import (
	"sync"

	"github.com/google/uuid"
)

// watches wakes goroutines that wait for events. Each waiter has a channel of size
// 1, so that signalling never blocks and repeated signals merge.
type watches struct {
	mu  sync.Mutex
	of  map[uuid.UUID]map[chan struct{}]bool
	all map[chan struct{}]bool
}

func newWatches() *watches {
	return &watches{of: map[uuid.UUID]map[chan struct{}]bool{}, all: map[chan struct{}]bool{}}
}

// Watch signals on woken when one of the tenants, or any tenant if none is named,
// may have new events, until stop is called. [Store.Changed] and [Store.Missed]
// cause the signals; a caller that must not miss an event also polls.
func (s *Store) Watch(tenantIDs ...uuid.UUID) (woken <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	s.watches.add(c, tenantIDs)
	return c, func() { s.watches.remove(c, tenantIDs) }
}

// Changed wakes the watches of a tenant. Call it when this or another process has
// committed a change of the tenant.
func (s *Store) Changed(tenantID uuid.UUID) {
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	wakeAll(s.watches.of[tenantID])
	wakeAll(s.watches.all)
}

// Missed wakes all watches. Call it when notifications may have been lost.
func (s *Store) Missed() {
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	for _, waiting := range s.watches.of {
		wakeAll(waiting)
	}
	wakeAll(s.watches.all)
}

func wakeAll(waiting map[chan struct{}]bool) {
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
