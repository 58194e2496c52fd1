package httpapi

import "github.com/labstack/echo/v4"

// mimeKeyHistory is that of a signed JWK Set (OpenID Federation 1.0 section 8.7).
const mimeKeyHistory = "application/jwk-set+jwt"

var typeKeyHistory = []string{mimeKeyHistory}

// history answers a tenant's signed key history. It is cached like the keys.
func (s *server) history(c echo.Context, find finder) error {
	h := c.Response().Header()
	public(h)
	snap, stale, err := find(c)
	if err != nil {
		return err
	}
	history, stale, err := s.cfg.Signer.History(c.Request().Context(), snap, stale)
	if err != nil {
		return err
	}
	h.Set("ETag", history.ETag)
	h.Set(echo.HeaderCacheControl, snap.CacheControl())
	if stale > 0 {
		markStale(h, stale)
	}
	if matches(c.Request().Header["If-None-Match"], history.ETag) {
		return notModified(c)
	}
	h["Content-Type"] = typeKeyHistory
	return respond(c, history.JWT)
}

// GetJWKSHistory is never called: direct answers first.
func (s *server) GetJWKSHistory(c echo.Context, _ TenantPath, _ GetJWKSHistoryParams) error {
	return s.history(c, s.byPath)
}

// GetPlatformJWKSHistory is never called: direct answers first.
func (s *server) GetPlatformJWKSHistory(c echo.Context, _ GetPlatformJWKSHistoryParams) error {
	return s.history(c, s.byHost)
}
