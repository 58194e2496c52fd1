package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// serveOwnPath answers a path that no route has: the JWK Set, if a tenant has this path
// for it, else unrouted.
func (s *publicServer) serveOwnPath(c echo.Context, unrouted error) error {
	r := c.Request()
	find := s.ownPathFinder(r.URL)
	if find == nil || r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions {
		return unrouted
	}
	snap, stale, err := find(c)
	if errors.Is(err, tenant.ErrNotFound) {
		return unrouted
	}
	if err != nil {
		return err
	}
	if r.Method == http.MethodOptions {
		return publicPreflight(c)
	}
	return s.serveJWKS(c, func(echo.Context) (*snapshot.Snapshot, time.Duration, error) { return snap, stale, nil })
}

// ownPathFinder returns the finder of the tenant that may have a path of its own, or
// nil: for most paths nothing is looked up.
func (s *publicServer) ownPathFinder(u *url.URL) finder {
	path := strings.TrimPrefix(u.Path, "/")
	if u.RawPath != "" || !tenant.IsJWKSPath(path) {
		return nil
	}
	rest, ofPath := strings.CutPrefix(path, "t/")
	if !ofPath {
		return func(c echo.Context) (*snapshot.Snapshot, time.Duration, error) {
			snap, stale, err := s.byHost(c)
			if err == nil && !snap.HasPath(path, s.baseOnDomain(snap)) {
				err = tenant.ErrNotFound
			}
			return snap, stale, err
		}
	}
	ref, below, deeper := strings.Cut(rest, "/")
	if !deeper || !isRef(ref) {
		return nil
	}
	return func(c echo.Context) (*snapshot.Snapshot, time.Duration, error) {
		snap, stale, err := s.cfg.Snapshots.Get(c.Request().Context(), ref)
		if err == nil && !snap.HasPath(below, s.cfg.PublicURL+"/t/"+snap.Slug) {
			err = tenant.ErrNotFound
		}
		return snap, stale, err
	}
}

// baseOnDomain returns the URL, without path, of the host by which the tenant was found.
func (s *publicServer) baseOnDomain(snap *snapshot.Snapshot) string {
	if snap.Slug == tenant.PlatformSlug {
		return s.cfg.PublicURL
	}
	if u, err := url.Parse(snap.Issuer); err == nil && domainOf(u.Host) == snap.Domain {
		return u.Scheme + "://" + u.Host
	}
	return "" // its issuer is elsewhere
}
