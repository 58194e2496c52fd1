package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
)

const (
	maxBody      = 1 << 20 // bytes
	maxBatchBody = 4 << 20 // of signTokens
)

// readDocument reads openapi.yaml.
func readDocument() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI)
	if err != nil {
		return nil, fmt.Errorf("httpapi: openapi.yaml: %w", err)
	}
	return doc, nil
}

// routePath converts a path of the document to echo's syntax.
func routePath(path string) string { return strings.NewReplacer("{", ":", "}", "").Replace(path) }

// operationNames returns the operationIds by method and echo path.
func operationNames(doc *openapi3.T) map[string]string {
	names := map[string]string{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			names[method+" "+routePath(path)] = op.OperationID
		}
	}
	return names
}

// routes registers the generated handlers with the wrappers that each operation
// needs: admin operations are authorized and validated and never cached; public
// operations bypass all of that.
type routes struct {
	*echo.Echo
	server *server
	names  map[string]string
	has    func(path string) bool // whether the router has a path
	faults []error
}

// GET registers a handler; public paths answer HEAD the same way.
func (r *routes) GET(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	if !isAdmin(path) {
		r.add(http.MethodHead, path, r.names["GET "+path], h)
	}
	return r.add(http.MethodGet, path, r.names["GET "+path], h)
}

// HEAD has been registered with GET.
func (r *routes) HEAD(string, echo.HandlerFunc, ...echo.MiddlewareFunc) *echo.Route { return nil }

// POST registers a handler.
func (r *routes) POST(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPost, path, r.names["POST "+path], h)
}

// PUT registers a handler.
func (r *routes) PUT(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPut, path, r.names["PUT "+path], h)
}

// PATCH registers a handler.
func (r *routes) PATCH(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPatch, path, r.names["PATCH "+path], h)
}

// DELETE registers a handler.
func (r *routes) DELETE(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodDelete, path, r.names["DELETE "+path], h)
}

func isAdmin(path string) bool { return strings.HasPrefix(path, "/v1/") }

// isPublic reports whether a path serves verifiers and load balancers. The
// other paths move to the admin address if one is configured.
func isPublic(path string) bool {
	return strings.HasPrefix(path, "/t/") || strings.HasPrefix(path, "/.well-known/") || isHealthCheck(path)
}

func isHealthCheck(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/readyz/public"
}

// isHealth reports whether a path serves health checks or metrics.
func isHealth(path string) bool { return isHealthCheck(path) || path == "/metrics" }

func (r *routes) add(method, path, operation string, h echo.HandlerFunc) *echo.Route {
	s := r.server
	if !r.has(path) {
		return nil
	}
	if !isAdmin(path) {
		if direct := s.directHandler(operation); direct != nil {
			h = direct
			r.Echo.OPTIONS(path, s.handle(operation, publicPreflight))
		}
		return r.Echo.Add(method, path, s.handle(operation, h))
	}
	a, known := permissions[operation]
	if !known {
		r.faults = append(r.faults, fmt.Errorf("httpapi: no role may call %s", operation))
	}
	a.operation, a.ofTenant = operation, strings.Contains(path, ":tenant")
	a.writes = method != http.MethodGet
	if len(s.cfg.ConsoleOrigins) > 0 {
		r.Echo.OPTIONS(path, s.handle("preflight", s.crossOrigin(consolePreflight)))
	}
	if a.guarded {
		h = s.withApproval(a, h)
	}
	if handDecoded[operation] {
		h = refuseQuery(s.refuseOverload(h))
	} else {
		h = s.validator.validateRequest(h)
	}
	return r.Echo.Add(method, path, s.handle(operation, s.crossOrigin(s.authorized(a, h))))
}

// normalizePaths passes requests on with a normalized path: unreserved
// characters are unescaped (RFC 9110 section 4.2.3, RFC 3986 section 6.2.2.2).
// Other escapes stay, and there is only one pass, so that %2F does not become a
// slash nor %2561 a letter; dots do not climb.
func normalizePaths(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, normalizePath(r)) })
}

// normalizePath returns the request itself if its path is already normalized.
func normalizePath(r *http.Request) *http.Request {
	if r.URL.RawPath == "" {
		return r
	}
	path := unescapeUnreserved(r.URL.RawPath)
	if path == r.URL.RawPath {
		return r
	}
	u := *r.URL
	u.RawPath = path
	if u.Path == path {
		u.RawPath = ""
	}
	plain := *r
	plain.URL = &u
	return &plain
}

func unescapeUnreserved(path string) string {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if c, err := url.PathUnescape(path[i : i+3]); err == nil && isUnreserved(c[0]) {
				out.WriteByte(c[0])
				i += 2
				continue
			}
		}
		out.WriteByte(path[i])
	}
	return out.String()
}

// isUnreserved reports whether a character is unreserved (RFC 3986 section
// 2.3).
func isUnreserved(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~'
}
