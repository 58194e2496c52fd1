package tenant

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/internal/age"
)

// maxCacheEntries bounds the entries of a cache.
const maxCacheEntries = 10_000

// cache holds values read of tenants for a limited time and drops a tenant's
// entries on demand. A value that was read before a drop and arrives after it is
// not stored, so that a slow read cannot bring back a revoked credential.
type cache[K comparable, V any] struct {
	lifetime time.Duration

	mu       sync.Mutex
	entries  map[K]entry[V]
	byTenant map[uuid.UUID]map[K]struct{}
	reads    map[*read[K, V]]struct{} // in progress
}

type entry[V any] struct {
	value  V
	tenant uuid.UUID
	readAt age.Instant
}

// read is a database read in progress, with the tenants dropped since it began.
type read[K comparable, V any] struct {
	cache   *cache[K, V]
	changed map[uuid.UUID]struct{}
	cleared bool
}

func newCache[K comparable, V any](lifetime time.Duration) *cache[K, V] {
	return &cache[K, V]{
		lifetime: lifetime, entries: map[K]entry[V]{},
		byTenant: map[uuid.UUID]map[K]struct{}{}, reads: map[*read[K, V]]struct{}{},
	}
}

func (c *cache[K, V]) get(key K, now age.Instant) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !e.readAt.Within(c.lifetime+1, now) { // at its end too
		return value, false
	}
	return e.value, true
}

// begin must be called before a value is read from the database, end after it was
// stored.
func (c *cache[K, V]) begin() *read[K, V] {
	r := &read[K, V]{cache: c, changed: map[uuid.UUID]struct{}{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[r] = struct{}{}
	return r
}

func (r *read[K, V]) end() {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	delete(r.cache.reads, r)
}

// keep stores a value, unless its tenant was dropped since begin. now is the instant
// of begin.
func (r *read[K, V]) keep(key K, value V, tenant uuid.UUID, now age.Instant) bool {
	c := r.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, changed := r.changed[tenant]; changed || r.cleared {
		return false
	}
	c.makeRoom(key)
	c.entries[key] = entry[V]{value: value, tenant: tenant, readAt: now}
	if c.byTenant[tenant] == nil {
		c.byTenant[tenant] = map[K]struct{}{}
	}
	c.byTenant[tenant][key] = struct{}{}
	return true
}

// makeRoom removes key, and evicts entries in map order while the cache is full.
// Map order is random enough that an attacker cannot choose the victims.
func (c *cache[K, V]) makeRoom(key K) {
	c.remove(key)
	for k := range c.entries {
		if len(c.entries) < maxCacheEntries {
			return
		}
		c.remove(k)
	}
}

func (c *cache[K, V]) remove(key K) {
	e, ok := c.entries[key]
	if !ok {
		return
	}
	delete(c.entries, key)
	delete(c.byTenant[e.tenant], key)
	if len(c.byTenant[e.tenant]) == 0 {
		delete(c.byTenant, e.tenant)
	}
}

// drop removes a tenant's entries.
func (c *cache[K, V]) drop(tenant uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := range c.reads {
		r.changed[tenant] = struct{}{}
	}
	for key := range c.byTenant[tenant] {
		c.remove(key)
	}
}

// clear removes all entries.
func (c *cache[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r := range c.reads {
		r.cleared = true
	}
	clear(c.entries)
	clear(c.byTenant)
}
