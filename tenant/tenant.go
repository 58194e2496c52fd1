// Package tenant holds the customers of the platform, the policies by which
// they sign and the credentials by which they are administered.
//
// It guarantees that no policy is stored that breaks a promise of the platform
// (see [Policy.Validate]), that every change leaves an audit event in its own
// transaction, and that a credential's secret is never stored. It trusts the
// database to keep one tenant's rows from another (row level security) and to
// refuse what Validate should have refused, and its callers to have decided
// whether the actor may do what it asks.
package tenant

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Status says whether a tenant signs, only verifies, or is gone.
type Status string

// The states of a tenant. A suspended tenant's JWKS is still served so that
// tokens already issued keep verifying; a deleted one answers 404 everywhere.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
	Deleted   Status = "deleted"
)

// PlatformSlug names the built-in tenant whose keys sign for the platform
// itself. It can be neither deleted nor suspended.
const PlatformSlug = "platform"

// Tenant is one customer: own issuer, own policies, own keys, own history.
type Tenant struct {
	ID           uuid.UUID
	Slug         string
	Name         string
	OwnIssuer    string // empty: the public URL and the slug make the issuer
	CustomDomain string // empty: none
	Status       Status
	Caching      Caching
	NotBefore    *time.Time // tokens issued earlier are refused, here and by relying parties that learn of it with the JWKS
	Freezes      []Freeze   // by their start; in none of them does the schedule rotate

	// ApprovalRequired are the operations to which a second person has to agree.
	ApprovalRequired []Operation
	// Metadata is a JSON object, empty for none: members of the tenant's
	// discovery documents.
	Metadata json.RawMessage

	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt *time.Time

	// CacheHorizon is until when caches filled under earlier, longer settings
	// may still be fresh; nothing is promoted by the schedule before it.
	CacheHorizon *time.Time
	// Version grows with every change: it is the seq of the last audit event.
	Version int64
}

// Issuer is the tenant's "iss" (RFC 7519 section 4.1.1): its own, or
// {publicURL}/t/{slug}. publicURL has no trailing slash.
func (t Tenant) Issuer(publicURL string) string {
	if t.OwnIssuer != "" {
		return t.OwnIssuer
	}
	return publicURL + "/t/" + t.Slug
}
