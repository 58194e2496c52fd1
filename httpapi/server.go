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
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/webhook"
)

// SignIn knows the people of an identity provider. Errors: those of
// [tenant.Store.Authenticate], tenant.ErrNoRole and
// tenant.ErrNoIdentityProvider.
type SignIn interface {
	Principal(ctx context.Context, token string) (tenant.Principal, error)
}

// Config says what the API serves. The stores are required.
type Config struct {
	PublicURL string // where verifiers reach this; issuers begin with it
	Store     *moves.Store
	Snapshots *snapshot.Cache
	Signer    *signing.Signer
	Tenants   *tenant.Store
	Audit     *audit.Store
	Webhooks  *webhook.Store
	// Ready says which parts are ready, by name; nil: all of them, always. Its
	// errors are shown to anybody.
	Ready func(context.Context) map[string]error
	// Metrics is where requests are counted, and what /metrics shows; nil:
	// neither.
	Metrics *prometheus.Registry
	// ConsoleOrigins are those whose scripts may call the admin API from a
	// browser, as browsers write them.
	ConsoleOrigins []string
	Streams        Streams
	// TrustedProxies are believed when they say who the client is, in
	// X-Forwarded-For or Forwarded (RFC 7239). Nobody is believed about the host
	// or the scheme: issuers begin with PublicURL.
	TrustedProxies []netip.Prefix
	RateLimits     RateLimits
	SignIn         SignIn           // nil: API keys only
	Now            func() time.Time // nil: time.Now
	Log            *slog.Logger     // nil: slog.Default
	Version        string
}

// server answers the operations of openapi.yaml; it is the generated
// [ServerInterface].
type server struct {
	cfg       Config
	ownHost   string // of the public URL
	echo      *echo.Echo
	public    *echo.Echo // the public paths alone
	answer    echo.HTTPErrorHandler
	ids       requestIDs
	proxies   proxies
	byAddress *limiter[netip.Prefix] // requests
	byCaller  *limiter[string]       // requests, by credential
	failures  *limiter[netip.Prefix] // failed authentications, by client address
	limitedBy *limitedBy
	denials   *denials
	seats     *seats // of event streams
	exports   *seats
	metrics   *metrics
	things    things
	validator *validator
	document  *static
	page      *static
}

// API is the whole HTTP API, and a part of it to serve on an address of its own.
type API interface {
	http.Handler
	// Public answers the public paths and readiness, and nothing else is there.
	Public() http.Handler
}

// New returns the HTTP API. Timeouts, TLS and shutting down are the business of
// the http.Server around it.
func New(cfg Config) (API, error) {
	doc, err := readDocument()
	if err != nil {
		return nil, err
	}
	s, err := newServer(cfg, doc)
	if err != nil {
		return nil, err
	}
	return s, s.register(doc)
}

func newServer(cfg Config, doc *openapi3.T) (s *server, err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	cfg.Streams = cfg.Streams.withDefaults()
	s = &server{
		cfg: cfg, ownHost: hostOf(cfg.PublicURL), answer: ErrorHandler(cfg.Log), ids: newRequestIDs(),
		proxies: proxies{cfg.TrustedProxies}, byAddress: newLimiter[netip.Prefix](cfg.RateLimits.Address),
		byCaller: newLimiter[string](cfg.RateLimits.Credential), failures: newLimiter[netip.Prefix](Rate{20, time.Second}),
		denials:  newDenials(cfg),
		document: newStatic("application/yaml", OpenAPI), things: thingsOf(doc), validator: newValidator(doc),
	}
	if s.page, err = newPage(doc.Info.Title); err != nil {
		return nil, err
	}
	if s.limitedBy, err = newLimitedBy(cfg); err != nil {
		return nil, err
	}
	if s.seats, err = newSeats(cfg.Metrics, "event stream", "keyward_event_streams", cfg.Streams.Most); err != nil {
		return nil, err
	}
	if s.exports, err = newSeats(cfg.Metrics, "audit export", "keyward_audit_exports", exportsAtOnce); err != nil {
		return nil, err
	}
	s.metrics, err = newMetrics(cfg)
	return s, err
}

// register makes two routers of the same handlers. What one does not know it
// cannot answer, however a path is written.
func (s *server) register(doc *openapi3.T) (err error) {
	if s.echo, err = s.router(doc, func(string) bool { return true }); err != nil {
		return err
	}
	s.public, err = s.router(doc, isPublic)
	return err
}

func (s *server) router(doc *openapi3.T, has func(path string) bool) (*echo.Echo, error) {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(io.Discard) // everything goes through slog
	e.HTTPErrorHandler = s.unrouted()
	r := &routes{Echo: e, server: s, names: operationNames(doc), has: has}
	RegisterHandlers(r, s)
	if s.cfg.Metrics != nil && has("/metrics") {
		e.GET("/metrics", s.edge("metrics", echo.WrapHandler(s.metrics.handler(s.cfg.Metrics))))
	}
	return e, errors.Join(r.faults...)
}

// Public implements [API].
func (s *server) Public() http.Handler { return spelled(s.public) }

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, respelled(r)) }

// unrouted answers what has no route: paths and methods that do not exist.
func (s *server) unrouted() echo.HTTPErrorHandler {
	answer := s.edge("none", func(c echo.Context) error { return c.Get(unroutedKey).(error) })
	return func(err error, c echo.Context) {
		c.Set(unroutedKey, err)
		_ = answer(c) // edge has answered every error
	}
}

const unroutedKey = "keyward.unrouted"
