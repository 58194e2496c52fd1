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

// finder finds the tenant of a public request.
type finder func(echo.Context) (snap *snapshot.Snapshot, stale time.Duration, err error)

// byPath finds the tenant by the slug or id in the path.
func (s *publicServer) byPath(c echo.Context) (*snapshot.Snapshot, time.Duration, error) {
	ref := c.Param("tenant")
	if !isRef(ref) {
		return nil, 0, tenant.ErrNotFound
	}
	return s.cfg.Snapshots.Get(c.Request().Context(), ref)
}

// byHost finds the tenant by the custom domain in the Host header, and falls
// back to the platform. The host of the public URL itself always belongs to the
// platform, so it is not looked up.
func (s *publicServer) byHost(c echo.Context) (*snapshot.Snapshot, time.Duration, error) {
	ctx := c.Request().Context()
	if domain := domainOf(c.Request().Host); domain != "" && domain != s.ownHost {
		snap, stale, err := s.cfg.Snapshots.OfDomain(ctx, domain)
		if !errors.Is(err, tenant.ErrNotFound) {
			return snap, stale, err
		}
	}
	return s.cfg.Snapshots.Get(ctx, tenant.PlatformSlug)
}

// domainOf returns the domain in a Host header (RFC 9110 section 7.2), in lower
// case, without port and without the trailing dot of a fully qualified name
// (RFC 1034 section 3.1). It returns "" for an address and for any name that
// cannot be a custom domain. net/http has already refused a request without
// exactly one host, and has taken the host of an absolute target (RFC 9112
// section 3.2.2).
func domainOf(host string) string {
	name, port, _ := strings.Cut(host, ":")
	if strings.Trim(port, "0123456789") != "" { // also the rest of [::1]:80
		return ""
	}
	name = tenant.LowerDomain(strings.TrimSuffix(name, "."))
	if !tenant.IsDomain(name) {
		return ""
	}
	return name
}

// hostOf returns the host of a URL in the form of domainOf.
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return domainOf(u.Host)
}
