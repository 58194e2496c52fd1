package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

// static is a document that does not change while the process lives.
type static struct {
	body   []byte
	header http.Header
	etag   string
}

func newStatic(contentType string, body []byte) *static {
	etag := entityTag(body)
	return &static{body: body, etag: etag, header: http.Header{
		"Content-Type":   {contentType},
		"Content-Length": {strconv.Itoa(len(body))},
		"Etag":           {etag},
		"Cache-Control":  {"no-cache"}, // ask again, but for a 304 only
	}}
}

func (d *static) serve(c echo.Context) error { return d.serveFor(c, d.header["Cache-Control"]) }

func (d *static) serveFor(c echo.Context, caching []string) error {
	h := c.Response().Header()
	public(h)
	for name, value := range d.header {
		h[name] = value
	}
	h["Cache-Control"] = caching
	if matches(c.Request().Header["If-None-Match"], d.etag) {
		return notModified(c)
	}
	return respond(c, d.body)
}

// GetOpenAPI answers the contract.
func (s *server) GetOpenAPI(c echo.Context, _ GetOpenAPIParams) error { return s.document.serve(c) }

// GetDocs answers a page to read it.
func (s *server) GetDocs(c echo.Context, _ GetDocsParams) error { return s.page.serve(c) }

// Healthz says that the process answers.
func (s *server) Healthz(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return reply(c, http.StatusOK, Health{Status: HealthStatusOk})
}

// Readyz says which parts are ready. Whoever provides Ready sees to it that
// anybody may know why one is not.
func (s *server) Readyz(c echo.Context) error {
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
