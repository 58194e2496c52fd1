package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// Caller returns whom a signed-in request speaks for. It is asked again where a
// request lasts: an event stream ends when its session does. Errors:
// tenant.ErrUnauthenticated once the session or its credential has ended,
// tenant.ErrUnavailable.
type Caller func(context.Context) (tenant.Principal, error)

// Sessions keeps sign-ins: [tenant.Store].
type Sessions interface {
	StartSession(ctx context.Context, by audit.By, p tenant.Principal, until *time.Time) (token string, s tenant.Session, err error)
	FindSession(ctx context.Context, token string, extend bool) (tenant.Session, error)
	EndSession(ctx context.Context, by audit.By, s tenant.Session) error
	EndSessions(ctx context.Context, by audit.By, p tenant.Principal) (int, error)
}

// ErrLimited is returned by [Config.Authenticate] after too many failures.
var ErrLimited = errors.New("console: too many failed sign-ins")

// Config configures the console. All functions but
// TrustedUntil and Platform are required, and so is Sessions.
type Config struct {
	// API serves a request for the admin API that is made by caller.
	API func(w http.ResponseWriter, r *http.Request, caller Caller)
	// Authenticate checks an API key that was entered at the request. Errors:
	// tenant.ErrUnauthenticated, ErrLimited, tenant.ErrUnavailable.
	Authenticate func(r *http.Request, apiKey string) (tenant.Principal, error)
	Sessions     Sessions
	// Limit returns ErrLimited if the request's network has had too many failed
	// sign-ins. With failed it counts one more first.
	Limit func(r *http.Request, failed bool) error
	// Refused records that a sign-in with an API key, or by the provider if that is
	// empty, was not accepted.
	Refused func(r *http.Request, requestID, apiKey string, err error)
	// Allows reports whether a role may call an operation of openapi.yaml.
	Allows func(role tenant.Role, operation string) bool
	// TrustedUntil says how long verifiers may trust a key that was revoked, and had been
	// active until a fresh key took over; nil: it is not shown.
	TrustedUntil func(revokedAt time.Time, c tenant.Caching, wasActive, fresh bool) []Trust
	// Overviews returns, for a page of a list, what the API answers about policies, published
	// keys and the adoption of their standby keys: a JSON array of [tenantFacts]. It is asked
	// for people of the platform only. Errors: tenant.ErrUnavailable.
	Overviews func(ctx context.Context, tenants []uuid.UUID) ([]byte, error)
	// Waiting returns a page of the approvals of all tenants that wait: a [waitingPage] in
	// JSON. It is asked for people of the platform only. Errors: tenant.ErrBadCursor,
	// tenant.ErrUnavailable.
	Waiting func(ctx context.Context, limit int, cursor string) ([]byte, error)

	// Replicas returns how many processes are live, and how many of them serve every change
	// that was made before; nil: it is not shown.
	Replicas func(ctx context.Context) (live, confirmed int)
	// Holders returns tenants that publish a key with a kid, limit at most. It is asked for
	// people of the platform only. Errors: tenant.ErrUnavailable.
	Holders func(ctx context.Context, kid string, limit int) ([]uuid.UUID, error)

	URL       string   // where browsers reach the console's address; empty: where the request was sent to
	PublicURL string   // where verifiers reach the platform
	Provider  Provider // signs people in; nil: API keys only
	// Platform returns the state of the installation; nil: it is not shown. Errors:
	// tenant.ErrUnavailable.
	Platform func(ctx context.Context) (PlatformState, error)

	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: slog.Default
	Version string
}

// Console serves the pages below /console.
type Console struct {
	cfg     Config
	mux     *http.ServeMux
	routes  []string     // the patterns of mux
	views   func() views // parsed when a page is first asked for
	origins *http.CrossOriginProtection
}

// New returns the console. An error is a fault of its URL.
func New(cfg Config) (*Console, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.URL = strings.TrimRight(cfg.URL, "/")
	c := &Console{cfg: cfg, mux: http.NewServeMux(), views: sync.OnceValue(mustViews), origins: http.NewCrossOriginProtection()}
	if cfg.URL != "" { // a proxy may send another Host than the browser did
		if err := c.origins.AddTrustedOrigin(cfg.URL); err != nil {
			return nil, err
		}
	}
	c.register()
	return c, nil
}

// ServeHTTP implements [http.Handler].
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setSecurityHeaders(w.Header())
	if err := c.origins.Check(r); err != nil {
		c.renderError(w, r, &pageError{
			http.StatusForbidden, "This request came from another site",
			"The console accepts changes from its own pages only. Open the page here and try again.",
		})
		return
	}
	c.mux.ServeHTTP(w, r)
}

// Routes returns the pattern of each page and each form, as [http.ServeMux] has it.
func (c *Console) Routes() []string { return slices.Clone(c.routes) }

// handle registers a handler and its pattern.
func (c *Console) handle(pattern string, h http.HandlerFunc) {
	c.routes = append(c.routes, pattern)
	c.mux.HandleFunc(pattern, h)
}

// register lists every page.
func (c *Console) register() {
	c.handle("GET /console/static/{file}", func(w http.ResponseWriter, r *http.Request) { c.views().serveAsset(w, r) })
	c.handle("GET /console/sign-in", c.showSignIn)
	c.handle("POST /console/sign-in", c.signIn)
	c.handle("GET /console/oidc/start", c.startOIDC)
	c.handle("GET /console/oidc/callback", c.finishOIDC)

	c.page("POST /console/sign-out", signOut)
	c.page("POST /console/sign-out-everywhere", signOutEverywhere)
	c.page("GET /console/account", showAccount)
	c.page("GET /console/events", streamEvents)
	c.page("GET /console/{$}", home)
	c.page("GET /console", home)

	c.page("GET /console/tenants", listTenants)
	c.page("GET /console/new-tenant", newTenant)
	c.page("POST /console/new-tenant", createTenant)
	c.page("GET /console/history", platformHistory)
	c.page("GET /console/history/export", exportHistory)
	c.page("GET /console/history/checkpoint", downloadCheckpoint)
	c.page("GET /console/platform", showPlatform)
	c.page("GET /console/approvals", listWaiting)
	c.page("GET /console/incident", showIncident)

	for _, prefix := range []string{"/console/platform", "/console/tenants/{tenant}"} {
		c.page("GET "+prefix+"/api-keys", listAPIKeys)
		c.page("POST "+prefix+"/api-keys", createAPIKey)
		c.page("POST "+prefix+"/api-keys/revoke", revokeAPIKey)
		c.page("GET "+prefix+"/webhooks", listWebhooks)
		c.page("POST "+prefix+"/webhooks", createWebhook)
		c.page("GET "+prefix+"/webhooks/{webhook}", showWebhook)
		c.page("POST "+prefix+"/webhooks/{webhook}", changeWebhook)
	}

	const t = "/console/tenants/{tenant}"
	c.page("GET "+t, showTenant)
	c.page("GET "+t+"/keys", listKeys)
	c.page("GET "+t+"/key", showKey)
	c.page("GET "+t+"/revoked", showRevoked)
	c.page("GET "+t+"/policies", listPolicies)
	c.page("GET "+t+"/policies/{alg}", editPolicy)
	c.page("POST "+t+"/policies/{alg}", savePolicy)
	c.page("GET "+t+"/verifiers", showVerifiers)
	c.page("GET "+t+"/domains", listDomains)
	c.page("POST "+t+"/domains", changeDomains)
	c.page("GET "+t+"/workloads", listWorkloads)
	c.page("POST "+t+"/workloads", createWorkload)
	c.page("POST "+t+"/workloads/delete", deleteWorkload)
	c.page("GET "+t+"/settings", showSettings)
	c.page("POST "+t+"/settings", saveSettings)
	c.page("GET "+t+"/history", tenantHistory)
	c.page("GET "+t+"/history/export", exportHistory)
	c.page("GET "+t+"/history/checkpoint", downloadCheckpoint)
	c.page("GET "+t+"/approvals", listApprovals)
	c.page("POST "+t+"/approvals/{approval}", decideApproval)
	c.page("GET "+t+"/act/{act}", previewAct)
	c.page("POST "+t+"/act/{act}", carryOut)

	c.mux.HandleFunc("/console/", func(w http.ResponseWriter, r *http.Request) {
		c.renderError(w, r, &pageError{http.StatusNotFound, "There is no such page", "The address may be cut off or out of date."})
	})
}
