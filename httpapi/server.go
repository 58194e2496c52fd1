package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys/adoption"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/webhook"
)

// SignIn authenticates people by tokens of an identity provider. Errors: those
// of [tenant.Store.Authenticate], tenant.ErrNoRole and
// tenant.ErrNoIdentityProvider.
type SignIn interface {
	Principal(ctx context.Context, token string) (tenant.Principal, error)
	// Issued reports whether a token says that it is the identity provider's.
	Issued(token string) bool
	Issuer() string
}

// Workloads authenticates workloads by tokens of issuers that a tenant trusts. Errors:
// those of [tenant.Store.Authenticate] and tenant.ErrNoIdentityProvider.
type Workloads interface {
	Principal(ctx context.Context, tenantID uuid.UUID, token string) (tenant.Principal, error)
}

// Config configures the API. The stores are required.
type Config struct {
	PublicURL string // as verifiers see it; issuers begin with it
	Store     *moves.Store
	Snapshots *snapshot.Cache
	Signer    *signing.Signer
	// Adoption counts the verifiers that fetch JWK Sets; nil counts none.
	Adoption *adoption.Counter
	Tenants  *tenant.Store
	Audit    *audit.Store
	Webhooks *webhook.Store
	// Ready returns the error of each part by name, nil for a part that is ready.
	// The errors are public. A nil Ready means always ready.
	Ready func(context.Context) map[string]error
	// ReadyPublic is Ready for verifiers. It must not wait for the database: what they
	// are served is in memory.
	ReadyPublic func(context.Context) map[string]error
	// Metrics counts requests and is served at /metrics, unless it is nil.
	Metrics *prometheus.Registry
	// LocalMetrics serves /metrics to clients on this machine only, for a process
	// without an admin address.
	LocalMetrics bool
	// ConsoleOrigins lists the origins, in the form that browsers send, whose scripts
	// may call the admin API.
	ConsoleOrigins []string
	Streams        Streams
	// TrustedProxies may set the client's address in X-Forwarded-For or Forwarded
	// (RFC 7239). Host and scheme are never taken from a proxy: issuers begin with
	// PublicURL.
	TrustedProxies []netip.Prefix
	RateLimits     RateLimits
	SignIn         SignIn      // nil: API keys and workloads only
	Workloads      Workloads   // nil: API keys and people only
	Processes      ProcessList // nil: this process is the only one
	Console        ConsoleConfig
	Now            func() time.Time // nil: time.Now
	Log            *slog.Logger     // nil: slog.Default
	Tracing        bool             // requests have spans, which are named by operation
	AccessLog      float64          // fraction of the requests to log at info, with all that fail with 500 and above
	Version        string
}

// server routes requests. The operations of openapi.yaml, which are the
// generated [ServerInterface], are methods of the five types embedded here, each
// with the stores that its operations need.
type server struct {
	*publicServer  // JWKS, discovery, documentation, health: no credential
	*adminServer   // tenants, policies, keys, approvals, API keys
	*tokenServer   // signing and verification
	*auditServer   // audit events: lists, exports, streams
	*webhookServer // webhooks and their deliveries
	*gate          // authentication and authorization of all but the first

	cfg         *Config
	echo        *echo.Echo
	public      *echo.Echo // the public paths alone
	health      *echo.Echo // health checks and metrics alone
	handleError echo.HTTPErrorHandler
	ids         requestIDs
	byAddress   *limiter[netip.Prefix] // requests
	metrics     *metrics
	validator   *validator
}

// API is the whole HTTP API, and a part of it for an address of its own.
type API interface {
	http.Handler
	// Public answers the public paths and readiness, and nothing else is there.
	Public() http.Handler
	// Health answers /healthz, /readyz, /readyz/public and /metrics, and nothing else is there: for a
	// process that serves no requests.
	Health() http.Handler
}

// New returns the HTTP API. The surrounding http.Server provides timeouts, TLS
// and shutdown.
func New(cfg Config) (API, error) {
	doc, err := readDocument()
	if err != nil {
		return nil, err
	}
	return newAPI(cfg, doc)
}

func newAPI(cfg Config, doc *openapi3.T) (API, error) {
	s, err := newServer(cfg, doc)
	if err != nil {
		return nil, err
	}
	return s, s.registerRoutes(doc)
}

func newServer(cfg Config, doc *openapi3.T) (s *server, err error) {
	cfg = cfg.withDefaults()
	s = &server{
		cfg: &cfg, handleError: ErrorHandler(cfg.Log), ids: newRequestIDs(), byAddress: newLimiter[netip.Prefix](cfg.RateLimits.Address),
		publicServer: newPublicServer(&cfg, doc.Info.Title), adminServer: &adminServer{&cfg}, tokenServer: &tokenServer{cfg: &cfg},
		webhookServer: &webhookServer{&cfg, actionPrefixes(doc)}, validator: newValidator(doc),
	}
	if s.gate, err = newGate(&cfg); err != nil {
		return nil, err
	}
	if s.auditServer, err = newAuditServer(&cfg, s.gate); err != nil {
		return nil, err
	}
	s.metrics, err = newMetrics(cfg, doc)
	s.tokenServer.metrics = s.metrics
	return s, err
}

// withDefaults fills in the defaults of optional fields.
func (cfg Config) withDefaults() Config {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	cfg.Streams = cfg.Streams.withDefaults()
	return cfg
}

// registerRoutes creates three routers of the same handlers: one with all paths,
// and two with the public paths and the health checks alone, which cannot serve
// any other path however it is spelled.
func (s *server) registerRoutes(doc *openapi3.T) (err error) {
	if s.echo, err = s.newRouter(doc, func(string) bool { return true }); err != nil {
		return err
	}
	if s.public, err = s.newRouter(doc, isPublic); err != nil {
		return err
	}
	s.health, err = s.newRouter(doc, isHealth)
	return err
}

func (s *server) newRouter(doc *openapi3.T, has func(path string) bool) (*echo.Echo, error) {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(io.Discard) // everything goes through slog
	e.HTTPErrorHandler = s.unroutedHandler(has("/t/{tenant}/.well-known/jwks.json"))
	r := &routes{Echo: e, server: s, names: operationNames(doc), has: has}
	RegisterHandlers(r, s)
	if s.cfg.Metrics != nil && has("/metrics") {
		e.GET("/metrics", s.handle("metrics", s.localMetrics(echo.WrapHandler(s.metrics.handler(s.cfg.Metrics)))))
	}
	if has("/console") {
		if err := s.registerConsole(e); err != nil {
			return nil, err
		}
	}
	return e, errors.Join(r.faults...)
}

// Public implements [API].
func (s *server) Public() http.Handler { return normalizePaths(s.public) }

// Health implements [API].
func (s *server) Health() http.Handler { return normalizePaths(s.health) }

// ServeHTTP serves one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.echo.ServeHTTP(w, normalizePath(r))
}

// unroutedHandler answers requests for unknown paths and methods, and for paths that
// tenants have for their JWK Sets.
func (s *server) unroutedHandler(ownPaths bool) echo.HTTPErrorHandler {
	answer := s.handle("none", func(c echo.Context) error {
		unrouted := c.Get(unroutedKey).(error)
		if !ownPaths || !errors.Is(unrouted, echo.ErrNotFound) {
			return unrouted
		}
		return s.serveOwnPath(c, unrouted)
	})
	return func(err error, c echo.Context) {
		c.Set(unroutedKey, err)
		_ = answer(c) // handle has answered every error
	}
}

const unroutedKey = "keyward.unrouted"
