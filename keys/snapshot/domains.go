package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Anybody can name a host, so what that costs is bounded: the memory, of which
// domains have a part that snapshots do not share, and the connections that ask.
// More questions at once wait for their turn, and only those about hosts that
// nobody has asked about lately have to.
const (
	domainShare = 16 // one part in so many of MaxBytes
	maxAsking   = 2
)

// OfDomain returns the snapshot of the tenant whose custom domain this is, as
// [Cache.Get] does by slug or id; domain is in lower case, without a final
// dot. Only whose the domain is, is remembered by its name: everything else about
// the tenant is remembered once. Errors: tenant.ErrNotFound, moves.ErrUnavailable.
func (s *Cache) OfDomain(ctx context.Context, domain string) (snap *Snapshot, stale time.Duration, err error) {
	ref := tenant.DomainRef(domain)
	for range 3 {
		e, since, err := s.know(ctx, ref)
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
		e.dirty.Store(true) // the tenant gave it up, or is gone: whose is it now?
	}
	return nil, 0, db.ErrUnavailable
}

// ask reads whose a domain is.
func (s *Cache) ask(ctx context.Context, domain string) (*entry, error) {
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e := &entry{loadedAt: s.cfg.Now()}
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
