package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

// mimeKeyHistory is that of a signed JWK Set (OpenID Federation 1.0 section 8.7).
const mimeKeyHistory = "application/jwk-set+jwt"

var typeKeyHistory = []string{mimeKeyHistory}

// history answers a tenant's signed key history. It is cached like the keys.
func (s *publicServer) history(c echo.Context, find finder) error {
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
func (s *publicServer) GetJWKSHistory(c echo.Context, _ TenantPath, _ GetJWKSHistoryParams) error {
	return s.history(c, s.byPath)
}

// GetPlatformJWKSHistory is never called: direct answers first.
func (s *publicServer) GetPlatformJWKSHistory(c echo.Context, _ GetPlatformJWKSHistoryParams) error {
	return s.history(c, s.byHost)
}

// publicServer answers the operations that need no credential.
type publicServer struct {
	cfg      *Config
	ownHost  string  // of the public URL
	document *static // openapi.yaml
	page     *static // /docs
}

func newPublicServer(cfg *Config, title string) (*publicServer, error) {
	page, err := newPage(title)
	return &publicServer{
		cfg: cfg, ownHost: hostOf(cfg.PublicURL), document: newStatic("application/yaml", OpenAPI), page: page,
	}, err
}

// Headers that every public answer has. The slices are shared between answers:
// nothing appends to them.
var (
	anyOrigin  = []string{"*"}
	noSniff    = []string{"nosniff"}
	varyAccept = []string{"Accept"}
	typeJSON   = []string{echo.MIMEApplicationJSON}
	typeJWKSet = []string{"application/jwk-set+json"} // RFC 7517 section 8.5.2
)

// direct is the handler of an operation that verifiers call: without the
// generated binding, which costs more than the answer and refuses an
// If-None-Match on two lines. Nil for every other operation.
func (s *publicServer) direct(operation string) echo.HandlerFunc {
	byPath, byHost := s.byPath, s.byHost
	switch operation {
	case "getJWKS", "headJWKS":
		return func(c echo.Context) error { return s.jwks(c, byPath) }
	case "getPlatformJWKS", "headPlatformJWKS":
		return func(c echo.Context) error { return s.jwks(c, byHost) }
	case "getOpenIDConfiguration", "getAuthorizationServerMetadata":
		return func(c echo.Context) error { return s.discovery(c, byPath) }
	case "getPlatformOpenIDConfiguration", "getPlatformAuthorizationServerMetadata":
		return func(c echo.Context) error { return s.discovery(c, byHost) }
	case "getJWKSHistory":
		return func(c echo.Context) error { return s.history(c, byPath) }
	case "getPlatformJWKSHistory":
		return func(c echo.Context) error { return s.history(c, byHost) }
	case "getOpenAPI":
		return s.document.serve
	case "getDocs":
		return s.page.serve
	case "getDocsAsset":
		return s.docsAsset
	}
	return nil
}

// jwks answers a tenant's JWK Set from its snapshot. Once that is in memory,
// what is allocated here is the request id and the slice it is in.
func (s *publicServer) jwks(c echo.Context, find finder) error {
	h, r := c.Response().Header(), c.Request()
	public(h)
	snap, stale, err := find(c)
	if err != nil {
		return err
	}
	snap.Describe(h) // on a 304 too: caches take it over
	h["Vary"] = varyAccept
	if stale > 0 {
		markStale(h, stale)
	}
	if none := r.Header["If-None-Match"]; len(none) > 0 && matches(none, snap.ETag()) {
		return notModified(c)
	}
	h["Content-Type"] = typeJSON
	if prefersJWKSet(r.Header["Accept"]) {
		h["Content-Type"] = typeJWKSet
	}
	if len(snap.JWKS) > counted || r.Method == http.MethodHead {
		h["Content-Length"] = snap.Length()
	}
	return respond(c, snap.JWKS)
}

// counted is up to where net/http finds the length of a body by itself. It is
// cheaper at it: a ninth header would make the map of them grow.
const counted = 2048

// public lets scripts of any origin read what is public anyway.
func public(h http.Header) {
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["X-Content-Type-Options"] = noSniff
}

// markStale says that the answer may be outdated, because PostgreSQL is away:
// to people and programs, and to caches (RFC 7234 section 5.5.1, which RFC 9111
// no longer asks for).
func markStale(h http.Header, stale time.Duration) {
	h.Set("Keyward-Stale", strconv.FormatInt(int64(stale/time.Second), 10))
	h.Set("Warning", `110 - "Response is Stale"`)
}

func notModified(c echo.Context) error {
	delete(c.Response().Header(), echo.HeaderContentLength)
	return c.NoContent(http.StatusNotModified)
}

// respond answers 200 with what the headers describe, or with them alone.
func respond(c echo.Context, body []byte) error {
	c.Response().WriteHeader(http.StatusOK)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, err := c.Response().Write(body)
	return err
}

// preflight allows what public paths offer to scripts that ask first, such as
// those that send If-None-Match (Fetch standard, section 3.2.2).
func preflight(c echo.Context) error {
	h := c.Response().Header()
	public(h)
	h.Set(echo.HeaderAllow, "GET, HEAD, OPTIONS")
	h.Set(echo.HeaderAccessControlAllowMethods, "GET, HEAD")
	h.Set(echo.HeaderAccessControlAllowHeaders, "Accept, If-None-Match, X-Request-Id")
	h.Set(echo.HeaderAccessControlMaxAge, "86400")
	return c.NoContent(http.StatusNoContent)
}

// isRef is what a slug or an id looks like. Anything else names no tenant, and
// must not get as far as a cache.
func isRef(ref string) bool {
	if len(ref) == 0 || len(ref) > 63 {
		return false
	}
	for i := range len(ref) {
		switch b := ref[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '-':
		default:
			return false
		}
	}
	return true
}

// GetJWKS and its like are never called: direct answers first.

// GetJWKS answers a tenant's JWK Set.
func (s *publicServer) GetJWKS(c echo.Context, _ TenantPath, _ GetJWKSParams) error {
	return s.jwks(c, s.byPath)
}

// HeadJWKS answers its headers.
func (s *publicServer) HeadJWKS(c echo.Context, _ TenantPath, _ HeadJWKSParams) error {
	return s.jwks(c, s.byPath)
}

// GetPlatformJWKS answers the JWK Set of whoever has the domain, or the platform.
func (s *publicServer) GetPlatformJWKS(c echo.Context, _ GetPlatformJWKSParams) error {
	return s.jwks(c, s.byHost)
}

// HeadPlatformJWKS answers its headers.
func (s *publicServer) HeadPlatformJWKS(c echo.Context, _ HeadPlatformJWKSParams) error {
	return s.jwks(c, s.byHost)
}
