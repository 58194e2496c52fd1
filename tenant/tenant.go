// Package tenant holds the customers of the platform, the policies by which
// they sign and the credentials by which they are administered.
//
// It guarantees that no policy is stored that breaks a promise of the platform
// (see [Policy.Validate]) and that a credential's secret is never stored. It
// trusts the database to keep one tenant's rows from another (row level
// security) and to refuse what Validate should have refused.
package tenant

import (
	"errors"
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

// Caching is what a tenant tells verifiers about how long its JWKS may be
// kept, and how far clocks may differ. All are whole seconds.
type Caching struct {
	MaxAge               time.Duration // Cache-Control max-age, RFC 9111 section 5.2.2.1
	StaleWhileRevalidate time.Duration // RFC 5861 section 3
	StaleIfError         time.Duration // RFC 5861 section 4
	ClockSkew            time.Duration // leeway between the platform's clock and a verifier's
}

// DefaultCaching is what a tenant gets that asks for nothing else.
var DefaultCaching = Caching{
	MaxAge:               5 * time.Minute,
	StaleWhileRevalidate: time.Minute,
	StaleIfError:         24 * time.Hour,
	ClockSkew:            time.Minute,
}

// Propagation is the time after which every well-behaved cache has seen a
// newly published key: max-age, plus stale-while-revalidate, plus skew.
func (c Caching) Propagation() time.Duration {
	return c.MaxAge + c.StaleWhileRevalidate + c.ClockSkew
}

// Tenant is one customer: own issuer, own policies, own keys, own history.
type Tenant struct {
	ID           uuid.UUID
	Slug         string
	Name         string
	OwnIssuer    string // empty: the public URL and the slug make the issuer
	CustomDomain string // empty: none
	Status       Status
	Caching      Caching
	NotBefore    *time.Time // tokens issued earlier are refused by tokens/verify
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Issuer is the tenant's "iss" (RFC 7519 section 4.1.1): its own, or
// {publicURL}/t/{slug}. publicURL has no trailing slash.
func (t Tenant) Issuer(publicURL string) string {
	if t.OwnIssuer != "" {
		return t.OwnIssuer
	}
	return publicURL + "/t/" + t.Slug
}

// Errors of this package; test with errors.Is.
var (
	ErrNotFound   = errors.New("tenant: no such tenant")
	ErrSlugTaken  = errors.New("tenant: slug is in use")
	ErrDomainTaken = errors.New("tenant: custom domain is in use")
	ErrSuspended  = errors.New("tenant: suspended")
	ErrBuiltIn    = errors.New("tenant: the platform's own tenant cannot be suspended or deleted")
)
