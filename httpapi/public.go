package httpapi

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/adoption"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
)

// mimeKeyHistory is the media type of a signed JWK Set (OpenID Federation 1.0
// section 8.7).
const mimeKeyHistory = "application/jwk-set+jwt"

var typeKeyHistory = []string{mimeKeyHistory}

// serveHistory answers a tenant's signed key history, cached like its JWK Set.
func (s *publicServer) serveHistory(c echo.Context, find finder) error {
	h := c.Response().Header()
	setPublicHeaders(h)
	snap, stale, err := find(c)
	if err != nil {
		return err
	}
	history, stale, err := s.cfg.Signer.History(c.Request().Context(), snap, stale)
	if err != nil {
		return err
	}
	return replySigned(c, snap, history, stale)
}

// serveSignedJWKS answers a tenant's JWK Set as a signed JWT, cached like the set.
func (s *publicServer) serveSignedJWKS(c echo.Context, find finder) error {
	setPublicHeaders(c.Response().Header())
	snap, stale, err := find(c)
	if err != nil {
		return err
	}
	set, stale, err := s.cfg.Signer.SignedSet(c.Request().Context(), snap, stale)
	if err != nil {
		return err
	}
	return replySigned(c, snap, set, stale)
}

func replySigned(c echo.Context, snap *snapshot.Snapshot, history *signing.History, stale time.Duration) error {
	h := c.Response().Header()
	h.Set("ETag", history.ETag)
	h.Set(echo.HeaderCacheControl, snap.CacheControl())
	if stale > 0 {
		markStale(h, stale)
	}
	if matchesETag(c.Request().Header["If-None-Match"], history.ETag) {
		return notModified(c)
	}
	h["Content-Type"] = typeKeyHistory
	return writeBody(c, history.JWT)
}

// GetJWKSHistory is required by ServerInterface; directHandler bypasses it.
func (s *publicServer) GetJWKSHistory(c echo.Context, _ TenantPath, _ GetJWKSHistoryParams) error {
	return s.serveHistory(c, s.byPath)
}

// GetPlatformJWKSHistory is required by ServerInterface; directHandler bypasses
// it.
func (s *publicServer) GetPlatformJWKSHistory(c echo.Context, _ GetPlatformJWKSHistoryParams) error {
	return s.serveHistory(c, s.byHost)
}

// GetSignedJWKS is required by ServerInterface; directHandler bypasses it.
func (s *publicServer) GetSignedJWKS(c echo.Context, _ TenantPath, _ GetSignedJWKSParams) error {
	return s.serveSignedJWKS(c, s.byPath)
}

// GetPlatformSignedJWKS is required by ServerInterface; directHandler bypasses it.
func (s *publicServer) GetPlatformSignedJWKS(c echo.Context, _ GetPlatformSignedJWKSParams) error {
	return s.serveSignedJWKS(c, s.byHost)
}

// publicServer answers the operations that need no credential.
type publicServer struct {
	cfg      *Config
	ownHost  string // of the public URL
	proxies  proxies
	document *static                 // openapi.yaml
	page     func() (*static, error) // /docs, rendered when it is first asked for
}

func newPublicServer(cfg *Config, title string) *publicServer {
	return &publicServer{
		cfg: cfg, ownHost: hostOf(cfg.PublicURL), proxies: proxies{cfg.TrustedProxies}, document: newStatic("application/yaml", OpenAPI),
		page: sync.OnceValues(func() (*static, error) { return newPage(title) }),
	}
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

// directHandler returns the handler of a public operation without the generated
// binding, which costs more than the answer itself and refuses an If-None-Match
// on two lines. It returns nil for all other operations.
func (s *publicServer) directHandler(operation string) echo.HandlerFunc {
	byPath, byHost := s.byPath, s.byHost
	switch operation {
	case "getJWKS", "headJWKS":
		return func(c echo.Context) error { return s.serveJWKS(c, byPath) }
	case "getPlatformJWKS", "headPlatformJWKS":
		return func(c echo.Context) error { return s.serveJWKS(c, byHost) }
	case "getOpenIDConfiguration", "getAuthorizationServerMetadata":
		return func(c echo.Context) error { return s.serveDiscovery(c, byPath) }
	case "getPlatformOpenIDConfiguration", "getPlatformAuthorizationServerMetadata":
		return func(c echo.Context) error { return s.serveDiscovery(c, byHost) }
	case "getSignedJWKS":
		return func(c echo.Context) error { return s.serveSignedJWKS(c, byPath) }
	case "getPlatformSignedJWKS":
		return func(c echo.Context) error { return s.serveSignedJWKS(c, byHost) }
	case "getJWKSHistory":
		return func(c echo.Context) error { return s.serveHistory(c, byPath) }
	case "getPlatformJWKSHistory":
		return func(c echo.Context) error { return s.serveHistory(c, byHost) }
	case "getOpenAPI":
		return s.document.serve
	case "getDocs":
		return s.servePage
	case "getDocsAsset":
		return s.serveAsset
	}
	return nil
}

// serveJWKS answers a tenant's JWK Set from its snapshot. Once that is cached,
// the only allocations are the request id and its slice.
func (s *publicServer) serveJWKS(c echo.Context, find finder) error {
	h, r := c.Response().Header(), c.Request()
	setPublicHeaders(h)
	snap, stale, err := find(c)
	if err != nil {
		return err
	}
	snap.Describe(h) // on a 304 too: caches take it over
	h["Vary"] = varyAccept
	if stale > 0 {
		markStale(h, stale)
	}
	none := r.Header["If-None-Match"]
	current := len(none) > 0 && matchesETag(none, snap.ETag())
	s.countFetch(r, snap, current)
	if current {
		return notModified(c)
	}
	h["Content-Type"] = typeJSON
	if prefersJWKSet(r.Header["Accept"]) {
		h["Content-Type"] = typeJWKSet
	}
	if len(snap.JWKS) > autoLength || r.Method == http.MethodHead {
		h["Content-Length"] = snap.Length()
	}
	return writeBody(c, snap.JWKS)
}

// countFetch counts a verifier that fetches the JWK Set. A HEAD transfers no set.
func (s *publicServer) countFetch(r *http.Request, snap *snapshot.Snapshot, current bool) {
	if s.cfg.Adoption == nil || r.Method != http.MethodGet {
		return
	}
	addr, ok := s.proxies.clientAddr(r)
	if !ok {
		return
	}
	validator := adoption.NoValidator
	switch {
	case current:
		validator = adoption.Current
	case len(r.Header["If-None-Match"]) > 0:
		validator = adoption.Outdated
	}
	agent := ""
	if agents := r.Header["User-Agent"]; len(agents) > 0 {
		agent = agents[0]
	}
	s.cfg.Adoption.Observe(snap.TenantID, snap.ChangedAt, addr, agent, validator)
}

// autoLength is the size up to which net/http sets Content-Length itself. That
// is cheaper, because a ninth header would make the header map grow.
const autoLength = 2048

// setPublicHeaders allows scripts of any origin to read the answer.
func setPublicHeaders(h http.Header) {
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["X-Content-Type-Options"] = noSniff
}

// markStale marks an answer as possibly outdated because PostgreSQL is
// unavailable: by a header of our own and by Warning for caches (RFC 7234
// section 5.5.1, obsoleted by RFC 9111).
func markStale(h http.Header, stale time.Duration) {
	h.Set("Keyward-Stale", strconv.FormatInt(int64(stale/time.Second), 10))
	h.Set("Warning", `110 - "Response is Stale"`)
}

func notModified(c echo.Context) error {
	delete(c.Response().Header(), echo.HeaderContentLength)
	return c.NoContent(http.StatusNotModified)
}

// writeBody answers 200 with the body, or with the headers alone for HEAD.
func writeBody(c echo.Context, body []byte) error {
	c.Response().WriteHeader(http.StatusOK)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, err := c.Response().Write(body)
	return err
}

// publicPreflight answers CORS preflights for public paths, which scripts cause
// that send If-None-Match (Fetch standard, section 3.2.2).
func publicPreflight(c echo.Context) error {
	h := c.Response().Header()
	setPublicHeaders(h)
	h.Set(echo.HeaderAllow, "GET, HEAD, OPTIONS")
	h.Set(echo.HeaderAccessControlAllowMethods, "GET, HEAD")
	h.Set(echo.HeaderAccessControlAllowHeaders, "Accept, If-None-Match, X-Request-Id")
	h.Set(echo.HeaderAccessControlMaxAge, "86400")
	return c.NoContent(http.StatusNoContent)
}

// isRef reports whether a text looks like a slug or an id. Other texts name no
// tenant and must not reach a cache.
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
	return s.serveJWKS(c, s.byPath)
}

// HeadJWKS answers the headers of GetJWKS.
func (s *publicServer) HeadJWKS(c echo.Context, _ TenantPath, _ HeadJWKSParams) error {
	return s.serveJWKS(c, s.byPath)
}

// GetPlatformJWKS answers the JWK Set of the tenant that has the domain, or of
// the platform.
func (s *publicServer) GetPlatformJWKS(c echo.Context, _ GetPlatformJWKSParams) error {
	return s.serveJWKS(c, s.byHost)
}

// HeadPlatformJWKS answers the headers of GetPlatformJWKS.
func (s *publicServer) HeadPlatformJWKS(c echo.Context, _ HeadPlatformJWKSParams) error {
	return s.serveJWKS(c, s.byHost)
}
