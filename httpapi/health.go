package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Healthz says that the process answers.
func (s *publicServer) Healthz(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return reply(c, http.StatusOK, Health{Status: HealthStatusOk})
}

// Readyz says which parts are ready. Whoever provides Ready sees to it that
// anybody may know why one is not.
func (s *publicServer) Readyz(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 5*time.Second)
	defer cancel()
	parts := map[string]error{}
	if s.cfg.Ready != nil {
		parts = s.cfg.Ready(ctx)
	}
	out, status := Readiness{Status: ReadinessStatusOk, Checks: map[string]Check{}}, http.StatusOK
	for name, err := range parts {
		if err == nil {
			out.Checks[name] = Check{Ok: true}
			continue
		}
		out.Checks[name] = Check{Detail: ptr(err.Error())}
		out.Status, status = ReadinessStatusUnavailable, http.StatusServiceUnavailable
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return reply(c, status, out)
}
