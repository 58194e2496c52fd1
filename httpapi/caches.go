package httpapi

import (
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// Caches lists all caches of tenants' data in a process. It is the only such
// list: a change made here and one that PostgreSQL notifies this process of
// invalidate the same entries.
type Caches struct {
	Snapshots *snapshot.Cache
	Signer    *signing.Signer
	Tenants   *tenant.Store
	Audit     *audit.Store
}

// Changed invalidates the entries of a tenant after a commit that changed it.
// The audit store is last because it wakes event streams, which then read the
// other caches.
func (c Caches) Changed(tenantID uuid.UUID, slug string) {
	c.Snapshots.Changed(tenantID, slug)
	c.Signer.Changed(tenantID)
	c.Tenants.Changed(tenantID)
	c.Audit.Changed(tenantID)
}

// Missed invalidates all entries, because notifications may have been lost. The
// order is that of [Caches.Changed].
func (c Caches) Missed() {
	c.Snapshots.Missed()
	c.Signer.Missed()
	c.Tenants.Invalidate()
	c.Audit.Missed()
}

func (cfg *Config) caches() Caches {
	return Caches{Snapshots: cfg.Snapshots, Signer: cfg.Signer, Tenants: cfg.Tenants, Audit: cfg.Audit}
}
