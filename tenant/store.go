package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/admission"
	"github.com/keyward/keyward/internal/age"
)

// Config configures a Store.
type Config struct {
	DB  *db.DB
	Now func() time.Time // nil: time.Now
	// Authority authenticates rows that confer authority; nil: this process can read
	// tenants, and neither change them nor believe a credential.
	Authority *Authority

	// Names is the name space of issuers and hosts.
	Names Namespace
	// LookupTXT returns the TXT records of a fully qualified name, each as one text.
	// nil: no domain can be verified.
	LookupTXT func(ctx context.Context, name string) ([]string, error)

	// RefusedURL returns why no document may be fetched from a URL, or "". nil: no
	// workload identity can be created.
	RefusedURL func(rawURL string) string

	// MaxAPIKeys bounds the live credentials of a tenant, and those of the platform; 0:
	// 10,000.
	MaxAPIKeys int

	// CacheLifetime bounds how long a credential or a slug is used from the cache
	// without being read again; 0: 30 s.
	CacheLifetime time.Duration
}

// Store reads and changes tenants and credentials. Tenants and policies are
// created and retired together with their keys, by moves.Store.
//
// Its caches must be invalidated when tenants change: see [Store.Changed] and
// [Store.Invalidate].
type Store struct {
	db        *db.DB
	now       func() time.Time
	authority *Authority
	names     Namespace
	lookupTXT func(ctx context.Context, name string) ([]string, error)
	lookups   chan struct{} // in progress

	refusedURL func(rawURL string) string

	maxAPIKeys int // live ones of a tenant, or of the platform

	slugs         *cache[string, uuid.UUID]
	credentials   *cache[uuid.UUID, credential]
	workloads     *cache[uuid.UUID, []WorkloadIdentity] // by tenant
	reads         singleflight.Group                    // of credentials, by id, and of workload identities
	coldReads     *admission.Gate
	known         *admission.Recent[uuid.UUID, struct{}]  // credentials that were valid once, and tenants that had workload identities
	unknown       *admission.Recent[uuid.UUID, time.Time] // ids of no credential, and when they were read
	used          usage[uuid.UUID]                        // of API keys
	usedWorkloads usage[workloadKey]
}

// New returns a Store.
func New(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.RefusedURL == nil {
		cfg.RefusedURL = func(string) string { return "cannot be fetched from by this process" }
	}
	if cfg.CacheLifetime == 0 {
		cfg.CacheLifetime = 30 * time.Second
	}
	truncated := func() time.Time { return cfg.Now().UTC().Truncate(time.Microsecond) }
	return &Store{
		db:          cfg.DB,
		now:         truncated,
		authority:   cfg.Authority,
		names:       cfg.Names,
		lookupTXT:   cfg.LookupTXT,
		refusedURL:  cfg.RefusedURL,
		maxAPIKeys:  cmp.Or(cfg.MaxAPIKeys, 10_000),
		lookups:     make(chan struct{}, maxLookups),
		slugs:       newCache[string, uuid.UUID](cfg.CacheLifetime),
		credentials: newCache[uuid.UUID, credential](cfg.CacheLifetime),
		workloads:   newCache[uuid.UUID, []WorkloadIdentity](cfg.CacheLifetime),
		coldReads:   admission.New(admission.Config{Now: cfg.Now, Rate: ColdReads, Burst: 2 * ColdReads, Concurrent: 4}),
		known:       admission.NewRecent[uuid.UUID, struct{}](maxCacheEntries),
		unknown:     admission.NewRecent[uuid.UUID, time.Time](maxUnknown),
	}
}

// Changed drops a tenant's cache entries, for the platform's tenant also the
// platform's credentials. Call it for every notification of a change.
func (s *Store) Changed(tenantID uuid.UUID) {
	s.slugs.drop(tenantID)
	s.credentials.drop(tenantID)
	s.workloads.drop(tenantID)
}

// Invalidate drops all cache entries. Call it whenever LISTEN starts (again), because
// notifications may have been lost before. While PostgreSQL is unavailable cached
// entries are used for their lifetime.
func (s *Store) Invalidate() {
	s.slugs.clear()
	s.credentials.clear()
	s.workloads.clear()
}

// Resolve returns the id of the live tenant with the slug or id ref. Errors: ErrNotFound, ErrUnavailable.
func (s *Store) Resolve(ctx context.Context, ref string) (uuid.UUID, error) {
	id, isID := ParseID(ref)
	if !isID && !slugPattern.MatchString(ref) {
		return uuid.Nil, ErrNotFound
	}
	now := age.Read(s.now)
	if id, ok := s.slugs.get(ref, now); ok {
		return id, nil
	}
	read := s.slugs.begin()
	defer read.end()
	id, err := s.resolve(ctx, ref, id)
	if err != nil {
		return uuid.Nil, wrapError("resolve", err)
	}
	read.keep(ref, id, id, now)
	return id, nil
}

func (s *Store) resolve(ctx context.Context, ref string, id uuid.UUID) (uuid.UUID, error) {
	if id != uuid.Nil {
		_, err := s.live(ctx, id)
		return id, err
	}
	err := s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		id, err = tx.LiveTenantID(ctx, ref)
		return err
	})
	return id, err
}

// Get returns the live tenant with the slug or id ref. Errors: ErrNotFound,
// ErrUnavailable.
func (s *Store) Get(ctx context.Context, ref string) (Tenant, error) {
	id, err := s.Resolve(ctx, ref)
	if err != nil {
		return Tenant{}, err
	}
	t, err := s.live(ctx, id)
	return t, wrapError("get", err)
}

// GetAny returns the tenant with an id, also a deleted one, for the platform, which
// may read its history. Errors: ErrNotFound, ErrForged, ErrUnavailable.
func (s *Store) GetAny(ctx context.Context, id uuid.UUID) (Tenant, error) {
	var row db.GetTenantRow
	err := s.db.InTenant(ctx, id, func(tx *db.Tx) (err error) {
		row, err = tx.GetTenant(ctx, id)
		return err
	})
	if err != nil {
		return Tenant{}, wrapError("get", err)
	}
	if s.authority != nil && row.Status != string(Deleted) {
		if err := s.authority.CheckTenant(TenantRow(row)); err != nil {
			return Tenant{}, wrapError("get", err)
		}
	}
	return TenantRow(row).Tenant(), nil
}

func (s *Store) live(ctx context.Context, id uuid.UUID) (Tenant, error) {
	t, err := s.GetAny(ctx, id)
	if err == nil && t.Status == Deleted {
		return Tenant{}, ErrNotFound
	}
	return t, err
}

// Policies returns a tenant's live policies, the default one first. Errors:
// ErrUnavailable.
func (s *Store) Policies(ctx context.Context, tenantID uuid.UUID) ([]Policy, error) {
	var policies []Policy
	err := s.db.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		policies, err = s.livePolicies(ctx, tx, tenantID)
		return err
	})
	return policies, wrapError("policies", err)
}

func (s *Store) livePolicies(ctx context.Context, tx *db.Tx, tenantID uuid.UUID) ([]Policy, error) {
	rows, err := tx.ListPolicies(ctx, tenantID)
	policies := []Policy{}
	for _, row := range rows {
		if s.authority != nil {
			if err := s.authority.CheckPolicy(PolicyRow(row)); err != nil {
				return nil, err
			}
		}
		if p := PolicyRow(row).Policy(); p.Live() {
			policies = append(policies, p)
		}
	}
	return policies, err
}

// ParseID parses an id in its canonical form (RFC 9562 section 4).
func ParseID(ref string) (uuid.UUID, bool) {
	if len(ref) != 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(ref)
	return id, err == nil && id != uuid.Nil
}

// wrapError adds the operation to err, and converts errors of the database to the
// errors of this package.
func wrapError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound), errors.Is(err, db.ErrNoRows):
		return ErrNotFound
	}
	return fmt.Errorf("tenant: %s: %w", what, Refused(err))
}
