package snapshot

import (
	"testing"

	"github.com/google/uuid"
)

// Whatever the order in which the loads of a tenant's slug and id end, no older state
// replaces a newer one, and both references have the same.
func TestOlderLoadsDoNotReplaceNewerOnes(t *testing.T) {
	acme, other := uuid.New(), uuid.New()
	refs := []string{"acme", acme.String()}
	load := func(cache *Cache, ref string, of uuid.UUID, version int64) {
		snap := &Snapshot{TenantID: of, Slug: "acme", Version: version}
		f := &pendingLoad{done: make(chan struct{}), entry: snap.cacheEntry(cache.now(), cache.entries)}
		cache.pendingLoads[ref] = f
		cache.finishLoad(ref, f)
		if got := f.entry.snapshot; got.Version < version {
			t.Errorf("a caller who read version %d of %s gets version %d", version, ref, got.Version)
		}
	}
	for _, first := range refs {
		for _, second := range refs {
			for _, versions := range [][2]int64{{1, 2}, {2, 1}, {2, 2}} {
				cache, _ := newCache(t, func(*Config) {})
				load(cache, first, acme, versions[0])
				load(cache, second, acme, versions[1])
				for _, ref := range []string{first, second} {
					if e, cached := cache.entries.GetIfPresent(ref); !cached || e.snapshot.Version != 2 {
						t.Errorf("%s then %s, versions %v: %s is not at version 2", first, second, versions, ref)
					}
				}
			}
		}
	}
	cache, _ := newCache(t, func(*Config) {})
	load(cache, "acme", acme, 9)
	load(cache, "acme", other, 1) // the slug went to another tenant
	if e, _ := cache.entries.GetIfPresent("acme"); e.snapshot.TenantID != other {
		t.Error("the slug is still that of the tenant before")
	}
}
