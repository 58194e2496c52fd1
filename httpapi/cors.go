package httpapi

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"
)

// crossOrigin lets scripts of the configured origins read answers of the admin
// API (Fetch standard, section 3.2). The API uses no cookies, so credentials
// mode is never allowed. Without configured origins it returns next itself.
func (s *server) crossOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	if len(s.cfg.ConsoleOrigins) == 0 {
		return next
	}
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Add(echo.HeaderVary, echo.HeaderOrigin)
		if origin := c.Request().Header[echo.HeaderOrigin]; len(origin) == 1 && slices.Contains(s.cfg.ConsoleOrigins, origin[0]) {
			h.Set(echo.HeaderAccessControlAllowOrigin, origin[0])
			h.Set(echo.HeaderAccessControlExposeHeaders, "ETag, Idempotent-Replayed, Keyward-Replicas, Location, Preference-Applied, Retry-After, X-Request-Id")
		}
		return next(c)
	}
}

// consolePreflight answers a CORS preflight. An origin that is not configured
// gets no Access-Control headers.
func consolePreflight(c echo.Context) error {
	h := c.Response().Header()
	h.Set(echo.HeaderCacheControl, "no-store")
	if h.Get(echo.HeaderAccessControlAllowOrigin) != "" {
		h.Set(echo.HeaderAccessControlAllowMethods, "GET, POST, PUT, PATCH, DELETE")
		h.Set(echo.HeaderAccessControlAllowHeaders, "Accept, Authorization, Content-Type, Idempotency-Key, Keyward-Approval, Last-Event-ID, Prefer, X-Request-Id")
		h.Set(echo.HeaderAccessControlMaxAge, "600")
	}
	return c.NoContent(http.StatusNoContent)
}
