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
	return replyReadiness(c, s.cfg.Ready)
}

// ReadyzPublic reports whether JWKS can be served, from memory too. A load balancer in
// front of them asks this: without PostgreSQL every replica fails Readyz.
func (s *publicServer) ReadyzPublic(c echo.Context) error {
	return replyReadiness(c, s.cfg.ReadyPublic)
}

func replyReadiness(c echo.Context, ask func(context.Context) map[string]error) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 5*time.Second)
	defer cancel()
	parts := map[string]error{}
	if ask != nil {
		parts = ask(ctx)
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
