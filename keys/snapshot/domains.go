package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Anybody can send a request with any host name, so the cost is bounded: domains
// have their own part of the memory, which snapshots do not share, and few
// connections load them. Further loads queue; a host that was loaded lately needs
// no load.
const (
	domainShare    = 16 // the domains' part of MaxBytes is 1/domainShare
	maxDomainLoads = 2
)

// OfDomain returns the snapshot of the tenant with this custom domain, as [Cache.Get]
// does by slug or id; domain is in lower case, without a final dot. The cache maps the
// domain to the tenant's id only, so that each tenant is cached once. Errors:
// tenant.ErrNotFound, db.ErrUnavailable.
func (s *Cache) OfDomain(ctx context.Context, domain string) (snap *Snapshot, stale time.Duration, err error) {
	ref := tenant.DomainRef(domain)
	for range 3 {
		e, since, err := s.getEntry(ctx, ref)
		if err != nil {
			return nil, 0, err
		}
		if e.owner == "" {
			return nil, 0, tenant.ErrNotFound
		}
		snap, stale, err := s.Get(ctx, e.owner)
		if err == nil && snap.Domain == domain {
			return snap, max(since, stale), nil
		}
		if err != nil && !errors.Is(err, tenant.ErrNotFound) {
			return nil, 0, err
		}
		e.dirty.Store(true) // the tenant released the domain or is deleted: read its owner again
	}
	return nil, 0, db.ErrUnavailable
}

// loadDomain reads the owner of a domain.
func (s *Cache) loadDomain(ctx context.Context, domain string) (*entry, error) {
	e := &entry{loadedAt: s.now()}
	id, err := s.cfg.DB.TenantOfDomain(ctx, domain)
	switch {
	case errors.Is(err, db.ErrNoRows):
		return e, nil
	case err != nil:
		return nil, err
	}
	e.owner = id.String()
	return e, nil
}
