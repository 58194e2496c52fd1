package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/admission"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/internal/callstack"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// unknownTTL bounds how long a reference without a tenant is cached.
const unknownTTL = 5 * time.Second

// How long PostgreSQL, which may hang, is waited for.
const (
	loadTimeout = 4500 * time.Millisecond // by a load
	missWait    = 4 * time.Second         // by a reader of what is not in memory; verifiers give up after 5 s
	loadWait    = 1800 * time.Millisecond // by a signer that cannot use what is in memory
	confirmWait = 40 * time.Millisecond   // by a reader of a snapshot that may be the latest
	changeWait  = 500 * time.Millisecond  // by a reader of a snapshot that is known not to be
	retryAfter  = time.Second             // before a snapshot is loaded again whose load failed
)

// Config configures a [Cache].
type Config struct {
	DB        *db.DB
	PublicURL string // without a trailing slash
	Now       func() time.Time
	Log       *slog.Logger
	// Authority checks what is read of a tenant; nil: this process cannot, so that it
	// serves JWK Sets, and nothing that is Fresh.
	Authority *tenant.Authority
	// HeardUntil returns the time up to which every change has been notified.
	HeardUntil func() age.Instant
	MaxBytes   uint64        // of snapshots in memory; 0: 256 MiB
	MaxStale   time.Duration // how long a JWKS is served without PostgreSQL; 0: 24 h
}

// Cache keeps the snapshots that readers are served. An entry is fresh while no change
// of its tenant was notified and notifications are known to arrive; one that is not
// fresh is loaded again, once for all concurrent readers.
type Cache struct {
	cfg         Config
	entries     *otter.Cache[string, *entry]
	domains     *otter.Cache[string, *entry]
	cold        *admission.Gate // loads of tenants that are not cached
	coldDomains *admission.Gate // loads of domains that are not cached

	mu           sync.Mutex
	pendingLoads map[string]*pendingLoad

	replica *replicaTracker

	hits, misses, stale, replicaReads atomic.Int64
}

// entry is the cached result for one reference: a snapshot, the owner of a domain, or,
// if it has neither, that there is no such tenant.
type entry struct {
	snapshot *Snapshot
	owner    string // the id of the tenant that owns the domain
	loadedAt age.Instant
	dirty    atomic.Bool  // a change was notified since
	failedAt atomic.Int64 // when loading it again failed, in ns by monotonic; 0: never
	cache    *otter.Cache[string, *entry]
}

// cacheEntry fills and returns s.entry, which is embedded in Snapshot so that both lie
// in the same cache lines. cache is where it will be.
func (s *Snapshot) cacheEntry(loadedAt age.Instant, cache *otter.Cache[string, *entry]) *entry {
	s.entry.snapshot, s.entry.loadedAt, s.entry.cache = s, loadedAt, cache
	return &s.entry
}

// reweigh tells the cache, if it has this entry, that it needs more memory than before.
func (e *entry) reweigh() {
	if e.cache == nil {
		return
	}
	for _, ref := range []string{e.snapshot.Slug, e.snapshot.TenantID.String()} {
		e.cache.ComputeIfPresent(ref, func(known *entry) (*entry, otter.ComputeOp) {
			if known != e {
				return known, otter.CancelOp
			}
			return e, otter.WriteOp // which weighs it again
		})
	}
}

// New returns an empty cache.
func New(cfg Config) *Cache {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 256 << 20
	}
	if cfg.MaxStale == 0 {
		cfg.MaxStale = 24 * time.Hour
	}
	return &Cache{
		cfg: cfg, pendingLoads: map[string]*pendingLoad{}, replica: newReplicaTracker(),
		cold:        admission.New(admission.Config{Now: cfg.Now, Rate: UnknownLoads, Burst: 2 * UnknownLoads, Concurrent: maxColdLoads}),
		coldDomains: admission.New(admission.Config{Now: cfg.Now, Rate: UnknownLoads, Burst: 2 * UnknownLoads, Concurrent: maxDomainLoads}),
		entries:     newEntries(cfg.MaxBytes), domains: newEntries(cfg.MaxBytes / domainShare),
	}
}

func newEntries(bytes uint64) *otter.Cache[string, *entry] {
	return otter.Must(&otter.Options[string, *entry]{
		MaximumWeight: bytes,
		Weigher:       func(ref string, e *entry) uint32 { return e.weight(ref) },
	})
}

// entriesFor returns the cache that holds a reference.
func (s *Cache) entriesFor(ref string) *otter.Cache[string, *entry] {
	if tenant.RefDomain(ref) != "" {
		return s.domains
	}
	return s.entries
}

func (e *entry) isUnknown() bool { return e.snapshot == nil && e.owner == "" }

func (e *entry) weight(ref string) uint32 {
	if e.snapshot == nil {
		return uint32(256 + len(ref))
	}
	return uint32(e.snapshot.Weight() + len(ref))
}

// Get returns a tenant's snapshot by slug or id, a fresh one if possible. stale is the
// time since it was last known to be the latest, zero if it is. Errors:
// tenant.ErrNotFound; db.ErrUnavailable if no snapshot is cached or it is too old.
func (s *Cache) Get(ctx context.Context, ref string) (snap *Snapshot, stale time.Duration, err error) {
	e, stale, err := s.getEntry(ctx, canonicalRef(ref))
	if err != nil {
		return nil, 0, err
	}
	snap, err = e.requireSnapshot()
	return snap, stale, err
}

// getEntry returns the entry of a reference, a fresh one if possible. With one in memory
// it waits only briefly for PostgreSQL, and not at all during an outage.
func (s *Cache) getEntry(ctx context.Context, ref string) (e *entry, stale time.Duration, err error) {
	e, cached := s.entriesFor(ref).GetIfPresent(ref)
	if cached && s.isFresh(e) {
		s.hits.Add(1)
		return e, 0, nil
	}
	if !cached || e.isUnknown() || s.confirmedAt(e).Elapsed(s.now()) > s.cfg.MaxStale {
		loaded, err := s.loadWithin(ctx, ref, missWait)
		return loaded, 0, err
	}
	loaded, err := s.reload(ctx, ref, e)
	if err == nil {
		return loaded, 0, nil
	}
	if s.isFresh(e) { // confirmed meanwhile
		return e, 0, nil
	}
	s.stale.Add(1)
	return e, max(s.confirmedAt(e).Elapsed(s.now()), time.Second), nil
}

// Fresh returns a tenant's snapshot only if it is known to be the latest, for signing.
// Errors: tenant.ErrNotFound, tenant.ErrForged, tenant.ErrNoAuthority,
// db.ErrUnavailable, which it returns within loadWait.
func (s *Cache) Fresh(ctx context.Context, ref string) (*Snapshot, error) {
	if s.cfg.Authority == nil {
		return nil, tenant.ErrNoAuthority
	}
	ref = canonicalRef(ref)
	if !s.hears() {
		return s.readAlone(ctx, ref)
	}
	e, ok := s.freshEntry(ref)
	if !ok {
		var err error
		if e, err = s.loadWithin(ctx, ref, loadWait); err != nil {
			return nil, err
		}
	}
	return e.requireSnapshot()
}

// hears reports whether notifications are known to arrive. A process that does not hear is
// not among those that a change waits for (db.Listener.Confirm), so it signs with nothing
// that it read before the request.
func (s *Cache) hears() bool { return s.cfg.HeardUntil().Within(keys.FreshFor, s.now()) }

// readAlone reads a tenant for one request.
func (s *Cache) readAlone(ctx context.Context, ref string) (*Snapshot, error) {
	if s.cfg.DB.Outage() != nil {
		return nil, errLate
	}
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	s.misses.Add(1)
	e, err := s.readEntry(ctx, ref)
	if err != nil {
		return nil, err
	}
	return e.requireSnapshot()
}

// reload loads a reference again that has an entry, and waits as long as a reader of the
// entry may.
func (s *Cache) reload(ctx context.Context, ref string, e *entry) (*entry, error) {
	failed := e.failedAt.Load()
	if s.cfg.DB.Outage() != nil || failed != 0 && monotonic()-failed < int64(retryAfter) {
		return nil, errLate
	}
	wait := confirmWait
	if e.dirty.Load() {
		wait = changeWait
	}
	if wait -= s.pendingFor(ref); wait <= 0 { // others have waited for it in vain
		return nil, errLate
	}
	return s.loadWithin(ctx, ref, wait)
}

// pendingFor returns for how long the load of a reference that a caller would join has gone
// on, 0 if there is none.
func (s *Cache) pendingFor(ref string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, pending := s.pendingLoads[ref]; pending && !f.dirty {
		return time.Duration(monotonic() - f.began)
	}
	return 0
}

// monotonic is a clock that no one sets, in ns; it is never 0.
func monotonic() int64 { return int64(time.Since(started)) }

var started = time.Now().Add(-time.Nanosecond)

// loadWithin loads a reference and waits for that at most wait. Errors: those of
// readEntry; db.ErrUnavailable when the time is over.
func (s *Cache) loadWithin(ctx context.Context, ref string, wait time.Duration) (*entry, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	e, err := s.loadEntry(waiting, ref)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, errLate
	}
	return e, err
}

// errLate is returned in place of PostgreSQL's answer.
var errLate = fmt.Errorf("keys: the tenant cannot be read in time: %w", db.ErrUnavailable)

// freshEntry returns the cached entry of a reference if it is known to be the latest.
func (s *Cache) freshEntry(ref string) (*entry, bool) {
	e, cached := s.entriesFor(ref).GetIfPresent(ref)
	if !cached || !s.isFresh(e) {
		return nil, false
	}
	s.hits.Add(1)
	return e, true
}

// canonicalRef returns the spelling of a reference that Changed uses: an id in lower
// case. An entry under another spelling would never be invalidated.
func canonicalRef(ref string) string {
	if _, isID := tenant.ParseID(ref); isID {
		return strings.ToLower(ref)
	}
	return ref
}

// requireSnapshot returns the snapshot. Errors: tenant.ErrNotFound.
func (e *entry) requireSnapshot() (*Snapshot, error) {
	if e.snapshot == nil {
		return nil, tenant.ErrNotFound
	}
	return e.snapshot, nil
}

// now reads both clocks: ages are measured by both.
func (s *Cache) now() age.Instant { return age.Read(s.cfg.Now) }

func (s *Cache) isFresh(e *entry) bool {
	if e.dirty.Load() {
		return false
	}
	if e.isUnknown() {
		return e.loadedAt.Within(unknownTTL, s.now())
	}
	return s.confirmedAt(e).Within(keys.FreshFor, s.now())
}

// confirmedAt returns when the entry was last known to be the latest.
func (s *Cache) confirmedAt(e *entry) age.Instant {
	if heard := s.cfg.HeardUntil(); !e.dirty.Load() && heard.After(e.loadedAt) {
		return heard
	}
	return e.loadedAt
}

// Changed invalidates the entries of a tenant that has changed, or of a domain that has
// changed its owner: slug is then the domain's [tenant.DomainRef]. Invalid entries stay,
// and are served while PostgreSQL is unavailable.
func (s *Cache) Changed(tenantID uuid.UUID, slug string) {
	s.replica.recordChange(tenantID)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range []string{slug, tenantID.String()} {
		if f, pending := s.pendingLoads[ref]; pending {
			f.dirty = true
		}
		if e, cached := s.entriesFor(ref).GetEntryQuietly(ref); cached {
			e.Value.dirty.Store(true)
		}
	}
}

// Missed invalidates every entry, because notifications may have been lost.
func (s *Cache) Missed() {
	s.replica.recordGap()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.pendingLoads {
		f.dirty = true
	}
	for _, known := range []*otter.Cache[string, *entry]{s.entries, s.domains} {
		for e := range known.Values() {
			e.dirty.Store(true)
		}
	}
}

// Requests counts the snapshots requested since the start, for reading, signing and
// verifying.
func (s *Cache) Requests() int64 { return s.hits.Load() + s.misses.Load() + s.stale.Load() }

// Stats counts requests since the start: answered from the cache, read from PostgreSQL,
// and served stale.
func (s *Cache) Stats() (hits, misses, stale int64) {
	return s.hits.Load(), s.misses.Load(), s.stale.Load()
}

// MaxStale returns how long snapshots are served while PostgreSQL is unavailable.
func (s *Cache) MaxStale() time.Duration { return s.cfg.MaxStale }

// InvalidateAll drops all entries, also the stale ones that would be served while
// PostgreSQL is unavailable.
func (s *Cache) InvalidateAll() {
	s.entries.InvalidateAll()
	s.domains.InvalidateAll()
}

// pendingLoad is a load in progress.
type pendingLoad struct {
	done  chan struct{}
	began int64 // in ns by monotonic
	entry *entry
	err   error
	dirty bool // a change was notified meanwhile: the result may be old
}

// loadEntry reads a reference once for all concurrent callers. The read goes on when their
// contexts end.
func (s *Cache) loadEntry(ctx context.Context, ref string) (*entry, error) {
	s.mu.Lock()
	f, pending := s.pendingLoads[ref]
	if !pending {
		// A load may have finished since the caller looked.
		if e, ok := s.freshEntry(ref); ok {
			s.mu.Unlock()
			return e, nil
		}
	}
	if !pending || f.dirty { // a caller after a change must not get the state before it
		f = &pendingLoad{done: make(chan struct{}), began: monotonic(), err: errLoadPanicked}
		s.pendingLoads[ref] = f
		go s.runLoad(context.WithoutCancel(ctx), ref, f)
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.entry, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// errLoadPanicked is returned to waiting callers if the load panicked.
var errLoadPanicked = errors.New("keys: the load of the tenant panicked")

// runLoad runs a load in a goroutine of its own, where a panic would end the process. It
// logs no value of a panic, which may be secret.
func (s *Cache) runLoad(ctx context.Context, ref string, f *pendingLoad) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			f.entry, f.err = nil, errLoadPanicked
			s.cfg.Log.Error("panic while a tenant was loaded", "type", fmt.Sprintf("%T", v), "at", callstack.OfPanic())
		}
		s.finishLoad(ref, f)
	}()
	s.misses.Add(1)
	f.entry, f.err = s.readEntry(ctx, ref)
}

// finishLoad stores the result of a load and wakes its waiting callers.
func (s *Cache) finishLoad(ref string, f *pendingLoad) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.pendingLoads[ref] == f
	if current {
		delete(s.pendingLoads, ref)
	}
	switch {
	case f.err != nil:
		if known, cached := s.entriesFor(ref).GetEntryQuietly(ref); cached {
			known.Value.failedAt.Store(monotonic())
		}
	case current:
		f.entry.dirty.Store(f.dirty)
		s.keepEntry(ref, f)
	}
	close(f.done)
}

// keepEntry puts the result of a load into the cache. The entries of a tenant's slug and id
// never differ: a process that signs with what it read by id must not serve an older set by
// slug. So a newer entry of the tenant replaces the result, and the result replaces older
// entries.
func (s *Cache) keepEntry(ref string, f *pendingLoad) {
	snap := f.entry.snapshot
	if snap == nil {
		s.entriesFor(ref).Set(ref, f.entry)
		return
	}
	id := snap.TenantID.String()
	for _, other := range []string{snap.Slug, id} {
		if e := s.entryOf(other, snap.TenantID); e != nil && e.snapshot.Version > f.entry.snapshot.Version {
			f.entry = e
		}
	}
	for _, other := range []string{snap.Slug, id} {
		if e := s.entryOf(other, snap.TenantID); other == ref || e != nil && e.snapshot.Version < f.entry.snapshot.Version {
			if other == f.entry.snapshot.Slug {
				other = f.entry.snapshot.Slug // in the same block of memory as the JWKS
			}
			s.entries.Set(other, f.entry)
		}
	}
}

// entryOf returns the entry of a reference if it is a snapshot of the tenant, or nil.
func (s *Cache) entryOf(ref string, tenantID uuid.UUID) *entry {
	known, cached := s.entries.GetEntryQuietly(ref)
	if !cached || known.Value.snapshot == nil || known.Value.snapshot.TenantID != tenantID {
		return nil
	}
	return known.Value
}

// UnknownLoads is how many tenants, and how many domains, that do not exist are loaded
// in a second, by all requests to a process together, and twice as many at once.
const UnknownLoads = 100

// maxColdLoads bounds the connections that load tenants which are not cached.
const maxColdLoads = 8

// readEntry reads a reference from the database, through a gate unless it was found
// there before: what it takes to reload a tenant does not depend on strangers.
func (s *Cache) readEntry(ctx context.Context, ref string) (*entry, error) {
	if e, cached := s.entriesFor(ref).GetEntryQuietly(ref); cached && !e.Value.isUnknown() {
		return s.readRef(ctx, ref)
	}
	gate := s.cold
	if tenant.RefDomain(ref) != "" {
		gate = s.coldDomains
	}
	leave, err := gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	e, err := s.readRef(ctx, ref)
	leave(err != nil || !e.isUnknown())
	return e, err
}

func (s *Cache) readRef(ctx context.Context, ref string) (*entry, error) {
	if domain := tenant.RefDomain(ref); domain != "" {
		return s.loadDomain(ctx, domain)
	}
	e := &entry{loadedAt: s.now()}
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
	if err := s.believe(public); err != nil {
		return nil, err
	}
	snap, err := newSnapshot(public, s.cfg.PublicURL)
	if err != nil {
		s.cfg.Log.Error("tenant snapshot cannot be built", "tenant_id", public.Tenant.ID, "error", err)
		return nil, err
	}
	return snap.cacheEntry(e.loadedAt, s.entries), nil
}

// believe checks the codes of what was read of a tenant: of its row, and of its
// rendered set or the policies to make one of. Published keys have none: who can
// write the database can publish keys, not sign with them. Errors: tenant.ErrForged.
func (s *Cache) believe(p db.Public) error {
	a := s.cfg.Authority
	if a == nil {
		return nil
	}
	if err := a.CheckTenant(tenantRow(p.Tenant)); err != nil {
		return err
	}
	if p.Tenant.JWKS != nil {
		return Set{p.Tenant.JWKS, p.Tenant.Outline}.check(a, p.Tenant.ID)
	}
	for _, row := range p.Policies {
		if err := a.CheckPolicy(policyRow(row)); err != nil {
			return err
		}
	}
	return nil
}

// tenantRow is the part of a tenant's row that its code is about.
func tenantRow(t db.PublicTenantRow) tenant.TenantRow {
	return tenant.TenantRow{
		ID: t.ID, Slug: t.Slug, Issuer: t.Issuer, CustomDomain: t.CustomDomain, Status: t.Status,
		JWKSMaxAgeSeconds: t.JWKSMaxAgeSeconds, JWKSStaleWhileRevalidateSeconds: t.JWKSStaleWhileRevalidateSeconds,
		JWKSStaleIfErrorSeconds: t.JWKSStaleIfErrorSeconds, ClockSkewSeconds: t.ClockSkewSeconds, NotBefore: t.NotBefore,
		ApprovalRequired: t.ApprovalRequired, Metadata: t.Metadata,
		JWKSPath: t.JWKSPath, JWKSHeaders: t.JWKSHeaders, UpdatedAt: t.UpdatedAt, MAC: t.MAC,
	}
}

// policyRow is the part of a policy's row that its code is about.
func policyRow(p db.PublicPoliciesRow) tenant.PolicyRow {
	return tenant.PolicyRow{
		TenantID: p.TenantID, Alg: p.Alg, RSABits: p.RSABits, RotationIntervalSeconds: p.RotationIntervalSeconds,
		PublishLeadSeconds: p.PublishLeadSeconds, GracePeriodSeconds: p.GracePeriodSeconds, PurgeAfterSeconds: p.PurgeAfterSeconds,
		DefaultTokenTTLSeconds: p.DefaultTokenTTLSeconds, MaxTokenTTLSeconds: p.MaxTokenTTLSeconds, MaxPublishedKeys: p.MaxPublishedKeys,
		MinAdoption: p.MinAdoption, MaxAdoptionWaitSeconds: p.MaxAdoptionWaitSeconds, IsDefault: p.IsDefault, UpdatedAt: p.UpdatedAt, MAC: p.MAC,
	}
}

// readReplica reads a tenant from the standby. ok reports whether the answer includes
// every change notified until as, which counts as the time of the read: changes
// committed since may be missing. An unknown tenant, a standby that lags or is
// unavailable, and a time without notifications are left to the primary.
func (s *Cache) readReplica(ctx context.Context, id uuid.UUID, ref string) (p db.Public, as age.Instant, ok bool) {
	if !s.cfg.DB.HasReplica() || !s.cfg.HeardUntil().Within(keys.FreshFor, s.now()) {
		return p, as, false
	}
	p, place, err := s.cfg.DB.PublicTenantOfReplica(ctx, id, ref)
	if err != nil {
		return p, as, false
	}
	as = s.cfg.HeardUntil()
	now := s.now()
	if !s.replica.isCurrent(p.Tenant.ID, place, now) || !as.Within(keys.FreshFor, now) {
		return p, as, false
	}
	s.replicaReads.Add(1)
	return p, as, true
}

// Beat records the position of the primary's log ([db.Listener.Beat]).
func (s *Cache) Beat(place uint64) { s.replica.recordBeat(place, s.now()) }

// ReplicaReads counts the reads from the standby since the start.
func (s *Cache) ReplicaReads() int64 { return s.replicaReads.Load() }
