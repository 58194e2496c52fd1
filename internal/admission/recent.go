package admission

import "sync"

// Recent remembers at least the last n keys noted, and at most twice as many: the keys
// noted longest ago are dropped, n at a time. It is safe for concurrent use.
type Recent[K comparable, V any] struct {
	n int

	mu       sync.Mutex
	now, old map[K]V
}

// NewRecent returns an empty memory of n keys.
func NewRecent[K comparable, V any](n int) *Recent[K, V] {
	return &Recent[K, V]{n: n, now: map[K]V{}}
}

// Get returns the value noted last for a key.
func (r *Recent[K, V]) Get(key K) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if value, ok = r.now[key]; !ok {
		value, ok = r.old[key]
	}
	return value, ok
}

// Note remembers a value for a key.
func (r *Recent[K, V]) Note(key K, value V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.now[key]; !known && len(r.now) >= r.n {
		r.now, r.old = make(map[K]V, r.n), r.now
	}
	r.now[key] = value
}

// Len returns the number of keys remembered, some of them perhaps twice.
func (r *Recent[K, V]) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.now) + len(r.old)
}
