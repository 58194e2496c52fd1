package snapshot

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys"
)

// What a cached tenant may take beside its JWKS, in bytes, with four ES256 keys, as
// tenants that rotate have.
const (
	maxBeside       = 4096
	maxBesideUnused = 1536 // of whom only the JWK Set was read
)

// publicTenant returns a tenant as it is read from PostgreSQL.
func publicTenant(t *testing.T, i int, alg jose.SignatureAlgorithm, published int) db.Public {
	t.Helper()
	now := time.Now()
	p := db.Public{
		Tenant: db.PublicTenantRow{
			ID: uuid.New(), Slug: fmt.Sprintf("tenant-%07d", i), Status: "active", JWKSMaxAgeSeconds: 300,
			JWKSStaleWhileRevalidateSeconds: 60, JWKSStaleIfErrorSeconds: 86400, ClockSkewSeconds: 60, AuditSeq: 12,
		},
		Policies:  []db.PublicPoliciesRow{{Alg: string(alg), IsDefault: true, DefaultTokenTTLSeconds: 900, MaxTokenTTLSeconds: 86400}},
		ChangedAt: now,
	}
	for k := range published {
		kid := fmt.Sprintf("%s-%07d-%02d-padded-to-the-length-of-a-hash", alg, i, k)[:43]
		private, err := keys.Generate(alg, keys.MinRSABits)
		if err != nil {
			t.Fatal(err)
		}
		jwk, err := keys.PublicJWK(private.Public(), alg, kid)
		if err != nil {
			t.Fatal(err)
		}
		state := []keys.State{keys.Active, keys.Standby, keys.Deprecated}[min(k, 2)]
		p.Keys = append(p.Keys, db.PublishedKeysRow{KID: kid, Alg: string(alg), State: string(state), PublicJWK: jwk, CreatedAt: now})
	}
	return p
}

// liveHeap returns the reachable memory, in bytes.
func liveHeap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Weight is the memory that a tenant takes, which is little beside its JWKS: when its set
// was read, and once tokens were verified with all of its keys and its discovery document
// was read.
func TestATenantWeighsWhatItTakes(t *testing.T) {
	const tenants = 5000
	for _, c := range []struct {
		alg       jose.SignatureAlgorithm
		published int
	}{{jose.ES256, 4}, {jose.RS256, 4}, {jose.EdDSA, 3}, {jose.ES512, 4}, {jose.PS384, 16}, {jose.ES256, 0}, {jose.MLDSA44, 4}, {jose.MLDSA87, 4}} {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %d used %t", c.alg, c.published, used), func(t *testing.T) {
				read := publicTenant(t, 0, c.alg, c.published)
				cache, jwks, weighed := newEntries(1<<30), 0, 0
				before := liveHeap()
				for i := range tenants {
					snap := newTenantSnapshot(t, read, i)
					if used {
						useAll(t, snap)
					}
					e := snap.cacheEntry(age.Now(), cache)
					cache.Set(snap.Slug, e)
					jwks, weighed = jwks+len(snap.JWKS), weighed+int(e.weight(snap.Slug))
				}
				cache.CleanUp()
				took := int(liveHeap() - before)
				runtime.KeepAlive(cache)
				t.Logf("%d B a tenant, %d beside the JWKS, said to be %d", took/tenants, (took-jwks)/tenants, weighed/tenants)
				if took > weighed || weighed > took*7/5 {
					t.Errorf("said to weigh %d B, it takes %d", weighed/tenants, took/tenants)
				}
				beside := (took - jwks) / tenants
				limit := maxBesideUnused
				if used {
					limit = maxBeside
				}
				if beside > limit && c.published <= 4 && keys.KeyType(c.alg) != "AKP" {
					t.Errorf("%d B beside the JWKS, want at most %d", beside, limit)
				}
			})
		}
	}
}

// However many tenants are requested, their memory stays within its bound, also where
// tokens are verified with what was in memory before.
func TestTheMemoryOfTenantsIsBounded(t *testing.T) {
	const bound = 8 << 20
	read := publicTenant(t, 0, jose.ES256, 4)
	cache := newEntries(bound)
	before := liveHeap()
	for i := range 20_000 {
		snap := newTenantSnapshot(t, read, i)
		cache.Set(snap.Slug, snap.cacheEntry(age.Now(), cache))
	}
	cache.CleanUp()
	unused := cache.EstimatedSize()
	for e := range cache.Values() {
		useAll(t, e.snapshot)
	}
	cache.CleanUp()
	took, kept := liveHeap()-before, cache.EstimatedSize()
	runtime.KeepAlive(cache)
	if took > bound || kept < 1000 || kept > unused*3/4 {
		t.Errorf("%d tenants in %d B, %d before their keys were used; the bound is %d", kept, took, unused, bound)
	}
}

// The parts of a JWKS response are adjacent in memory: the slug (the cache's
// key), the header fields, and the JWKS, to which the keys refer. The pointers to
// them are at the beginning of the snapshot.
func TestResponseMemoryIsContiguous(t *testing.T) {
	snap := newTenantSnapshot(t, publicTenant(t, 0, jose.ES256, 4), 7)
	next := uintptr(unsafe.Pointer(unsafe.StringData(snap.Slug)))
	for _, piece := range []string{snap.Slug, snap.etag[0], snap.modified[0], snap.caching[0], snap.length[0], unsafe.String(&snap.JWKS[0], len(snap.JWKS))} {
		if at := uintptr(unsafe.Pointer(unsafe.StringData(piece))); at != next {
			t.Errorf("%.60q is %d bytes off", piece, int64(at-next))
		}
		next += uintptr(len(piece))
	}
	if cap(snap.JWKS) != len(snap.JWKS) {
		t.Error("a caller could append to the JWKS")
	}
	published := snap.readContents().published
	for i := range published {
		k := &published[i]
		if at := bytes.Index(snap.JWKS, k.jwk); at < 0 || &snap.JWKS[at] != &k.jwk[0] || !bytes.Contains(k.jwk, []byte(k.kid)) {
			t.Errorf("key %s is %s, which is not the part of the JWKS", k.kid, k.jwk)
		}
	}
	if hot := unsafe.Offsetof(snap.TenantID); hot > 3*64 {
		t.Errorf("%d bytes lead to the answer", hot)
	}
	if e := snap.cacheEntry(age.Now(), nil); unsafe.Pointer(e) != unsafe.Pointer(snap) || e.snapshot != snap {
		t.Error("the entry is elsewhere")
	}
}

// useAll fills everything that a snapshot may keep: parsed keys, and a discovery
// document of a usual size.
func useAll(t *testing.T, snap *Snapshot) {
	t.Helper()
	if _, err := snap.Discovery(func(*Snapshot) (*Document, error) {
		return &Document{Body: make([]byte, 300, 512), ETag: string(make([]byte, 26))}, nil
	}); err != nil {
		t.Fatal(err)
	}
	published := snap.readContents().published
	for i := range published {
		if _, err := snap.parsePublic(&published[i]); err != nil {
			t.Fatal(err)
		}
	}
}

// newTenantSnapshot returns the snapshot of a copy of read, which shares no memory.
func newTenantSnapshot(t *testing.T, read db.Public, i int) *Snapshot {
	t.Helper()
	read.Tenant.Slug = fmt.Sprintf("tenant-%07d", i)
	read.Keys = append([]db.PublishedKeysRow(nil), read.Keys...)
	for k := range read.Keys {
		read.Keys[k].KID = string(append([]byte(nil), read.Keys[k].KID...))
	}
	snap, err := newSnapshot(read, "https://keys.example.com")
	if err != nil {
		t.Fatal(err)
	}
	return snap
}
