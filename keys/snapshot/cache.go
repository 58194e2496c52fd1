package snapshot

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
	"github.com/maypok86/otter/v2"
)

// unknownFor bounds how long a slug is remembered to belong to nobody.
const unknownFor = 5 * time.Second

// Config says what the cache of snapshots may hold.
type Config struct {
	DB        *db.DB
	PublicURL string // without a trailing slash
	Now       func() time.Time
	Log       *slog.Logger
	// HeardUntil is the time until which every change has been heard of.
	HeardUntil func() time.Time
	MaxBytes   uint64        // of snapshots in memory; 0: 256 MiB
	MaxStale   time.Duration // how long a JWKS is served without PostgreSQL; 0: 24 h
}

// Cache is the memory that readers are served from. An entry is good while
// nothing was heard about its tenant and the listener is known to hear; one
// that is not is read again, once however many ask.
type Cache struct {
	cfg     Config
	entries *otter.Cache[string, *entry]
	domains *otter.Cache[string, *entry]
	asking  chan struct{} // holds one for each question about a domain

	mu      sync.Mutex
	flights map[string]*flight

	replica *replica

	hits, misses, stale, replicaReads atomic.Int64
}

// entry is what is known about a reference: a snapshot or, of a domain, whose
// it is; or that there is no such tenant (neither).
type entry struct {
	snapshot *Snapshot
	owner    string // the id of the domain's tenant
	loadedAt time.Time
	dirty    atomic.Bool // something was heard about the tenant since
}

// remembered is the entry of a snapshot, which has room for it: they are read
// together.
func (s *Snapshot) remembered(loadedAt time.Time) *entry {
	s.entry.snapshot, s.entry.loadedAt = s, loadedAt
	return &s.entry
}

// New returns an empty memory.
func New(cfg Config) *Cache {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 256 << 20
	}
	if cfg.MaxStale == 0 {
		cfg.MaxStale = 24 * time.Hour
	}
	return &Cache{
		cfg: cfg, flights: map[string]*flight{}, replica: newReplica(), asking: make(chan struct{}, maxAsking),
		entries: newEntries(cfg.MaxBytes), domains: newEntries(cfg.MaxBytes / domainShare),
	}
}

func newEntries(bytes uint64) *otter.Cache[string, *entry] {
	return otter.Must(&otter.Options[string, *entry]{
		MaximumWeight: bytes,
		Weigher:       func(ref string, e *entry) uint32 { return e.weight(ref) },
	})
}

// about is where what is known about a reference is kept.
func (s *Cache) about(ref string) *otter.Cache[string, *entry] {
	if tenant.RefDomain(ref) != "" {
		return s.domains
	}
	return s.entries
}

func (e *entry) unknown() bool { return e.snapshot == nil && e.owner == "" }

func (e *entry) weight(ref string) uint32 {
	if e.snapshot == nil {
		return uint32(256 + len(ref))
	}
	return uint32(e.snapshot.Weight() + len(ref))
}

// Get returns a tenant's snapshot by slug or id, fresh if it can be. stale is
// how long ago it was last known to be the latest, zero if it is. Errors:
// tenant.ErrNotFound; moves.ErrUnavailable where nothing is remembered or it is too
// old.
func (s *Cache) Get(ctx context.Context, ref string) (snap *Snapshot, stale time.Duration, err error) {
	e, stale, err := s.know(ctx, spelling(ref))
	if err != nil {
		return nil, 0, err
	}
	snap, err = e.found()
	return snap, stale, err
}

// know returns what is known about a reference, fresh if it can be.
func (s *Cache) know(ctx context.Context, ref string) (e *entry, stale time.Duration, err error) {
	e, cached := s.about(ref).GetIfPresent(ref)
	if cached && s.fresh(e) {
		s.hits.Add(1)
		return e, 0, nil
	}
	loaded, err := s.load(ctx, ref)
	if err == nil {
		return loaded, 0, nil
	}
	if !cached || e.unknown() {
		return nil, 0, err
	}
	age := s.cfg.Now().Sub(s.confirmed(e))
	if age > s.cfg.MaxStale {
		return nil, 0, err
	}
	s.stale.Add(1)
	return e, max(age, time.Second), nil
}

// Fresh returns a tenant's snapshot only if it is known to be the latest, for
// signing. Errors: tenant.ErrNotFound, moves.ErrUnavailable.
func (s *Cache) Fresh(ctx context.Context, ref string) (*Snapshot, error) {
	ref = spelling(ref)
	e, ok := s.hit(ref)
	if !ok {
		var err error
		if e, err = s.load(ctx, ref); err != nil {
			return nil, err
		}
	}
	return e.found()
}

// hit returns what is remembered of a reference and known to be the latest.
func (s *Cache) hit(ref string) (*entry, bool) {
	e, cached := s.about(ref).GetIfPresent(ref)
	if !cached || !s.fresh(e) {
		return nil, false
	}
	s.hits.Add(1)
	return e, true
}

// spelling is the one way in which Changed names a tenant: an id in lower case.
// Under another one a snapshot would never hear of a change.
func spelling(ref string) string {
	if _, isID := tenant.ParseID(ref); isID {
		return strings.ToLower(ref)
	}
	return ref
}

func (e *entry) found() (*Snapshot, error) {
	if e.snapshot == nil {
		return nil, tenant.ErrNotFound
	}
	return e.snapshot, nil
}

func (s *Cache) fresh(e *entry) bool {
	if e.dirty.Load() {
		return false
	}
	if e.unknown() {
		return s.cfg.Now().Sub(e.loadedAt) < unknownFor
	}
	return s.cfg.Now().Sub(s.confirmed(e)) < keys.FreshFor
}

// confirmed is when the entry was last known to be the latest.
func (s *Cache) confirmed(e *entry) time.Time {
	if heard := s.cfg.HeardUntil(); !e.dirty.Load() && heard.After(e.loadedAt) {
		return heard
	}
	return e.loadedAt
}

// Changed is told that a tenant has changed, or whose a domain is: slug is then
// the domain's [tenant.DomainRef]. What is remembered must be read again before
// it is fresh. It stays as a reserve for the time without PostgreSQL.
func (s *Cache) Changed(tenantID uuid.UUID, slug string) {
	s.replica.changed(tenantID)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range []string{slug, tenantID.String()} {
		if f, flying := s.flights[ref]; flying {
			f.dirty = true
		}
		if e, cached := s.about(ref).GetEntryQuietly(ref); cached {
			e.Value.dirty.Store(true)
		}
	}
}

// Missed is told that changes may have gone unheard: everything must be read
// again.
func (s *Cache) Missed() {
	s.replica.missed()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.flights {
		f.dirty = true
	}
	for _, known := range []*otter.Cache[string, *entry]{s.entries, s.domains} {
		for e := range known.Values() {
			e.dirty.Store(true)
		}
	}
}

// Asked counts whoever wanted a snapshot, be it to show it, to sign or to verify.
func (s *Cache) Asked() int64 { return s.hits.Load() + s.misses.Load() + s.stale.Load() }

// Stats counts what was answered from memory, what was read, and what was
// served stale, since the start.
func (s *Cache) Stats() (hits, misses, stale int64) {
	return s.hits.Load(), s.misses.Load(), s.stale.Load()
}

// MaxStale is how long anything is served without PostgreSQL.
func (s *Cache) MaxStale() time.Duration { return s.cfg.MaxStale }

// ForgetAll drops everything from memory, the reserve for the time without
// PostgreSQL included.
func (s *Cache) ForgetAll() {
	s.entries.InvalidateAll()
	s.domains.InvalidateAll()
}

// flight is a load under way.
type flight struct {
	done  chan struct{}
	entry *entry
	err   error
	dirty bool // something was heard meanwhile: what is being read may be old
}

// load reads a reference once for everybody who asks meanwhile: who asks first
// does it, to the end, even if its own caller has gone away.
func (s *Cache) load(ctx context.Context, ref string) (*entry, error) {
	s.mu.Lock()
	f, flying := s.flights[ref]
	if !flying {
		// One may have landed since nothing was found.
		if e, ok := s.hit(ref); ok {
			s.mu.Unlock()
			return e, nil
		}
	}
	if !flying || f.dirty { // who asks after a change is not told of the time before
		f = &flight{done: make(chan struct{}), err: errCrashed}
		s.flights[ref] = f
		s.mu.Unlock()
		s.fly(context.WithoutCancel(ctx), ref, f)
		return f.entry, f.err
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.entry, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// errCrashed is what those hear who waited for somebody who panicked.
var errCrashed = errors.New("keys: reading the tenant did not come to an end")

func (s *Cache) fly(ctx context.Context, ref string, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	defer s.land(ref, f)
	s.misses.Add(1)
	f.entry, f.err = s.read(ctx, ref)
}

// land keeps what was read and lets go of those who wait for it.
func (s *Cache) land(ref string, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.flights[ref] == f
	if current {
		delete(s.flights, ref)
	}
	if f.err == nil && current {
		f.entry.dirty.Store(f.dirty)
		if found := f.entry.snapshot; found != nil && found.Slug == ref {
			ref = found.Slug // lies beside what is answered
		}
		s.about(ref).Set(ref, f.entry)
	}
	close(f.done)
}

func (s *Cache) read(ctx context.Context, ref string) (*entry, error) {
	if domain := tenant.RefDomain(ref); domain != "" {
		return s.ask(ctx, domain)
	}
	e := &entry{loadedAt: s.cfg.Now()}
	id, _ := tenant.ParseID(ref)
	public, as, ok := s.readReplica(ctx, id, ref)
	if ok {
		e.loadedAt = as
	}
	var err error
	if !ok {
		public, err = s.cfg.DB.PublicTenant(ctx, id, ref)
	}
	if errors.Is(err, db.ErrNoRows) {
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	snap, err := newSnapshot(public, s.cfg.PublicURL)
	if err != nil {
		s.cfg.Log.Error("tenant cannot be read", "tenant_id", public.Tenant.ID, "error", err)
		return nil, err
	}
	return snap.remembered(e.loadedAt), nil
}

// readReplica asks the standby. Its answer is used if it is as late as all that
// was heard of until as, which counts as the time of reading: what has been
// committed since may be missing in it. A tenant that it does not know, a
// standby that lags or is away, and a time in which nothing can be heard are
// left to the primary.
func (s *Cache) readReplica(ctx context.Context, id uuid.UUID, ref string) (p db.Public, as time.Time, ok bool) {
	if !s.cfg.DB.HasReplica() || s.cfg.Now().Sub(s.cfg.HeardUntil()) >= keys.FreshFor {
		return p, as, false
	}
	p, place, err := s.cfg.DB.PublicTenantOfReplica(ctx, id, ref)
	if err != nil {
		return p, as, false
	}
	as = s.cfg.HeardUntil()
	now := s.cfg.Now()
	if !s.replica.knows(p.Tenant.ID, place, now) || now.Sub(as) >= keys.FreshFor {
		return p, as, false
	}
	s.replicaReads.Add(1)
	return p, as, true
}

// Beat is told how far the primary's log has got ([db.Listener.Beat]).
func (s *Cache) Beat(place uint64) { s.replica.beat(place, s.cfg.Now()) }

// ReplicaReads counts what was read from the standby, since the start.
func (s *Cache) ReplicaReads() int64 { return s.replicaReads.Load() }
