package httpapi

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// finder finds the tenant that a public request is about.
type finder func(echo.Context) (snap *snapshot.Snapshot, stale time.Duration, err error)

// byPath goes by the slug or id in the path.
func (s *server) byPath(c echo.Context) (*snapshot.Snapshot, time.Duration, error) {
	ref := c.Param("tenant")
	if !isRef(ref) {
		return nil, 0, tenant.ErrNotFound
	}
	return s.cfg.Snapshots.Get(c.Request().Context(), ref)
}

// byHost goes by the custom domain that the request was sent to; one that is
// nobody's is answered for the platform. For the public URL's own host nothing
// is looked up: it is the platform's, whatever a tenant says.
func (s *server) byHost(c echo.Context) (*snapshot.Snapshot, time.Duration, error) {
	ctx := c.Request().Context()
	if domain := domainOf(c.Request().Host); domain != "" && domain != s.ownHost {
		snap, stale, err := s.cfg.Snapshots.OfDomain(ctx, domain)
		if !errors.Is(err, tenant.ErrNotFound) {
			return snap, stale, err
		}
	}
	return s.cfg.Snapshots.Get(ctx, tenant.PlatformSlug)
}

// domainOf is the domain that a Host header names (RFC 9110 section 7.2), in
// lower case, without port and without the dot that ends a name written out in
// full (RFC 1034 section 3.1); "" for an address and for anything that cannot be
// a custom domain. net/http has refused a request with none or several, and has
// taken the host from the target where that is a URL (RFC 9112 section 3.2.2).
func domainOf(host string) string {
	name, port, _ := strings.Cut(host, ":")
	if strings.Trim(port, "0123456789") != "" { // what is left of [::1]:80 too
		return ""
	}
	name = tenant.LowerDomain(strings.TrimSuffix(name, "."))
	if !tenant.IsDomain(name) {
		return ""
	}
	return name
}

// hostOf is the host of a URL as domainOf would have it.
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return domainOf(u.Host)
}

// notOwnHost refuses to give a tenant the platform's own host.
func (s *server) notOwnHost(domain string) error {
	if domain != "" && tenant.LowerDomain(domain) == s.ownHost {
		return invalid("custom_domain", "must not be the host of this service's public URL")
	}
	return nil
}

// domainChanged makes this process forget that a domain was nobody's.
func (s *server) domainChanged(t tenant.Tenant) {
	if t.CustomDomain != "" {
		s.cfg.Snapshots.Changed(t.ID, tenant.DomainRef(t.CustomDomain))
	}
}
