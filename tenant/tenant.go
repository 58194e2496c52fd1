// Package tenant manages tenants, their policies and credentials, and approvals. It
// is internal to Keyward: no compatibility promise.
//
// It guarantees that no stored policy breaks a promise of the platform (see
// [Policy.Validate]), that every change writes an audit event in its own
// transaction, and that a credential's secret is never stored. It trusts the
// database to separate tenants (row level security) and to enforce the rules of
// Validate once more, and its callers to authorize the actor.
package tenant

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Status is the state of a tenant.
type Status string

// The states of a tenant. A suspended tenant does not sign, but its JWKS is served
// so that issued tokens keep verifying. A deleted tenant is 404 everywhere.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
	Deleted   Status = "deleted"
)

// PlatformSlug is the slug of the built-in tenant. Its keys sign for the platform
// itself; it can be neither deleted nor suspended.
const PlatformSlug = "platform"

// Tenant is one customer: own issuer, own policies, own keys, own history.
type Tenant struct {
	ID           uuid.UUID
	Slug         string
	Name         string
	OwnIssuer    string // empty: the issuer is derived from the public URL and the slug
	CustomDomain string // empty: none
	Status       Status
	Caching      Caching
	NotBefore    *time.Time // tokens issued earlier are refused, here and by relying parties that read it with the JWKS
	Freezes      []Freeze   // ordered by start; the schedule does not rotate inside them

	// ApprovalRequired lists the operations that require a second person's approval.
	ApprovalRequired []Operation
	// Metadata is a JSON object with further members of the tenant's discovery
	// documents, or empty.
	Metadata json.RawMessage
	// JWKSPath is a further path of the JWK Set, below the issuer and on the custom
	// domain, without a leading slash; empty: none.
	JWKSPath string
	// JWKSHeaders are further response headers of the JWK Set, by canonical name.
	JWKSHeaders map[string]string

	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt *time.Time

	// CacheHorizon is the time until which caches filled under earlier, longer
	// settings may be fresh. The schedule promotes no key before it.
	CacheHorizon *time.Time
	// Version is the seq of the last audit event, so it grows with every change.
	Version int64
}

// Issuer returns the tenant's "iss" (RFC 7519 section 4.1.1): its own, or
// {publicURL}/t/{slug}. publicURL has no trailing slash.
func (t Tenant) Issuer(publicURL string) string {
	if t.OwnIssuer != "" {
		return t.OwnIssuer
	}
	return publicURL + "/t/" + t.Slug
}
