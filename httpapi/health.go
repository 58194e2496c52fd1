package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Healthz answers 200 while the process serves requests.
func (s *publicServer) Healthz(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return replyJSON(c, http.StatusOK, Health{Status: HealthStatusOk})
}

// Readyz reports which parts are ready. The errors of Config.Ready are shown to
// any client.
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
		out.Checks[name] = Check{Detail: new(err.Error())}
		out.Status, status = ReadinessStatusUnavailable, http.StatusServiceUnavailable
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return replyJSON(c, status, out)
}
