package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/httpapi/console"
	"github.com/keyward/keyward/internal/admission"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/tenant"
)

// call is an authorized request: its caller and its tenant.
type call struct {
	tenant.Principal
	requestID string
	open      context.Context // the request's own, without the deadline of authorized
	tenantID  uuid.UUID       // of the tenant in the path
	slug      string

	request  *digestReader   // nil if the operation changes nothing that can need approval
	approval *audit.Approval // the approval used; nil if none was required
}

// gate authenticates and authorizes the requests for the admin API, and limits
// their rate.
type gate struct {
	cfg       *Config
	clients   proxies
	byCaller  *limiter[string]       // requests, by credential
	failures  *limiter[netip.Prefix] // failed authentications, by client network
	suspects  *admission.Gate        // look-ups by networks that have reached that limit
	limitedBy *limitCounters
	denials   *denials
}

func newGate(cfg *Config) (*gate, error) {
	limited, err := newLimitCounters(cfg)
	return &gate{
		cfg: cfg, clients: proxies{cfg.TrustedProxies}, byCaller: newLimiter[string](cfg.RateLimits.Credential),
		failures:  newLimiter[netip.Prefix](Rate{20, time.Second}),
		suspects:  admission.New(admission.Config{Now: cfg.Now, Rate: suspectLookUps, Burst: 2 * suspectLookUps, Concurrent: 2}),
		limitedBy: limited, denials: newDenials(cfg),
	}, err
}

const callKey = "keyward.call"

// callOf returns the call that authorized has stored.
func callOf(c echo.Context) *call { return c.Get(callKey).(*call) }

// auditBy returns the actor and the request id for audit events of this
// request.
func auditBy(c echo.Context) audit.By { return callOf(c).auditBy() }

func (w *call) auditBy() audit.By {
	return audit.By{Actor: w.Actor, RequestID: w.requestID, Approval: w.approval}
}

// How long an operation may work, most of which is waiting for PostgreSQL, which may
// hang. The time in which its body arrives does not count. Streams, exports and the
// verification of a chain bound each of their reads instead (callOf(c).open).
const (
	workTime = 13 * time.Second        // and 2 s on top to look for the answer to a request with an Idempotency-Key
	signTime = 1800 * time.Millisecond // of operations that a token waits for
)

// signsOrVerifies lists the operations that have signTime.
var signsOrVerifies = map[string]bool{"signToken": true, "signTokens": true, "signPayload": true, "verifyToken": true}

// work is the deadline of a request.
type work struct {
	began time.Time
	end   context.CancelFunc
}

// beginWork gives a request a deadline. The caller must call end.
func beginWork(c echo.Context, open context.Context, d time.Duration) work {
	began := time.Now()
	ctx, end := context.WithDeadline(open, began.Add(d))
	c.SetRequest(c.Request().WithContext(ctx))
	return work{began, end}
}

// slowBody is how long a body may take to arrive at the expense of the deadline.
const slowBody = 20 * time.Millisecond

// awaitBody reads the body, and begins the work again with what is left of d if that took
// long.
func (k *work) awaitBody(c echo.Context, open context.Context, d time.Duration) {
	spent := time.Since(k.began)
	if took := bufferBody(c.Request()); took > slowBody {
		k.end()
		*k = beginWork(c, open, d-spent)
	}
}

// authorized calls next only for callers with the permission. All answers
// behind it are private to the caller and never cached.
func (s *gate) authorized(a permission, next echo.HandlerFunc) echo.HandlerFunc {
	limit := int64(maxBody)
	if a.operation == "signTokens" {
		limit = maxBatchBody
	}
	patience := workTime
	if signsOrVerifies[a.operation] {
		patience = signTime
	}
	serve := func(c echo.Context) error {
		setPrivateHeaders(c.Response().Header())
		open := c.Request().Context()
		k := beginWork(c, open, patience)
		defer func() { k.end() }()
		p, err := s.authenticate(c.Request(), c.Param("tenant"))
		if err != nil {
			return err
		}
		if err := s.limitByCredential(p); err != nil {
			return err
		}
		w := &call{Principal: p, open: open, requestID: c.Response().Header().Get(echo.HeaderXRequestID)}
		err = s.authorize(c, w, a)
		if errors.Is(err, tenant.ErrNotFound) {
			return s.replayDeletion(c, w, a)
		}
		if err != nil {
			return err
		}
		c.Set(callKey, w)
		c.Request().Body = http.MaxBytesReader(c.Response().Writer, c.Request().Body, limit)
		k.awaitBody(c, open, patience)
		if a.guarded {
			w.request = digestRequest(c.Request())
		}
		return s.answerChange(c, w, a, next)
	}
	switch {
	case !a.writes:
		return serve
	case handDecoded[a.operation]: // signing must not pay for what it does not need
		return reportUnchanged(serve)
	default:
		return reportOutcome(serve)
	}
}

// What every answer to a credential has. The slices are shared: nothing appends
// to them.
var (
	headerNoStore = []string{"no-store"}
	noContent     = []string{"default-src 'none'; frame-ancestors 'none'"}
	noReferrer    = []string{"no-referrer"}
)

func setPrivateHeaders(h http.Header) {
	h["Cache-Control"], h["X-Content-Type-Options"] = headerNoStore, noSniff
	h["Content-Security-Policy"], h["Referrer-Policy"] = noContent, noReferrer
}

// authenticate checks the credential (RFC 6750 section 2.1) of a request for the tenant
// that ref names, if any. Only failures
// count against the rate limit of the client's network, and only credentials that
// are not cached have to wait for it, so that the valid ones in use are never slowed
// down.
func (s *gate) authenticate(r *http.Request, ref string) (tenant.Principal, error) {
	if caller, signedIn := r.Context().Value(callerKey{}).(console.Caller); signedIn {
		return caller(r.Context())
	}
	return s.authenticateWith(r, ref, bearerToken(r))
}

// authenticateWith checks a credential that came with a request for a tenant, or none.
func (s *gate) authenticateWith(r *http.Request, ref, credential string) (tenant.Principal, error) {
	if credential == "" {
		return tenant.Principal{}, errNoCredential
	}
	p, known, err := s.cfg.Tenants.AuthenticateCached(credential)
	if s.isToken(credential) {
		known = false
	}
	if !known {
		if p, err = s.lookUp(r, ref, credential); errors.As(err, new(*admission.BusyError)) {
			s.limitedBy.failures.Inc()
		}
	}
	if errors.Is(err, tenant.ErrUnauthenticated) {
		if wait := s.failures.take(s.clients.clientNetwork(r), age.Read(s.cfg.Now)); wait > 0 {
			s.limitedBy.failures.Inc()
			return tenant.Principal{}, &rateLimitedError{wait}
		}
	}
	return p, err
}

// limitSignIn returns how long the request's network has to wait before it may try to sign
// in, 0 if it need not. With failed it counts a failed authentication first.
func (s *gate) limitSignIn(r *http.Request, failed bool) (wait time.Duration) {
	if failed {
		wait = s.failures.take(s.clients.clientNetwork(r), age.Read(s.cfg.Now))
	} else {
		wait = s.failures.wait(s.clients.clientNetwork(r), age.Read(s.cfg.Now))
	}
	if wait > 0 {
		s.limitedBy.failures.Inc()
	}
	return wait
}

// suspectLookUps is how many look-ups in a second all networks that have reached their
// limit may cause together, and twice as many at once.
const suspectLookUps = 5

// lookUp finds the owner of a credential that is not cached. A network that has
// reached its limit shares a few look-ups with all others that have, so that its own
// valid credentials still get in unless guesses use these up.
func (s *gate) lookUp(r *http.Request, ref, key string) (tenant.Principal, error) {
	if s.failures.wait(s.clients.clientNetwork(r), age.Read(s.cfg.Now)) > 0 {
		leave, err := s.suspects.Enter(r.Context())
		if err != nil {
			return tenant.Principal{}, err
		}
		p, err := s.findPrincipal(r.Context(), ref, key)
		leave(!errors.Is(err, tenant.ErrUnauthenticated))
		return p, err
	}
	return s.findPrincipal(r.Context(), ref, key)
}

// limitByCredential enforces the rate limit of a credential, if one is
// configured.
func (s *gate) limitByCredential(p tenant.Principal) error {
	if s.cfg.RateLimits.Credential == (Rate{}) {
		return nil
	}
	if wait := s.byCaller.take(p.Actor.ID, age.Read(s.cfg.Now)); wait > 0 {
		s.limitedBy.credential.Inc()
		return &rateLimitedError{wait}
	}
	return nil
}

// findPrincipal returns the owner of a credential: of an API key, of a token of the
// operator's identity provider, or of a workload's token for the tenant that ref names. A
// token has the form of a JWS (RFC 7515 section 7.1), which no API key has.
func (s *gate) findPrincipal(ctx context.Context, ref, credential string) (tenant.Principal, error) {
	switch {
	case !s.isToken(credential):
		return s.cfg.Tenants.Authenticate(ctx, credential)
	case s.cfg.SignIn != nil && (s.cfg.Workloads == nil || s.cfg.SignIn.Issued(credential)):
		return s.cfg.SignIn.Principal(ctx, credential)
	}
	return s.findWorkload(ctx, ref, credential)
}

// isToken reports whether a credential is a token of another issuer.
func (s *gate) isToken(credential string) bool {
	return (s.cfg.SignIn != nil || s.cfg.Workloads != nil) && !strings.HasPrefix(credential, "kw_") && strings.Count(credential, ".") == 2
}

// findWorkload returns the owner of a workload's token. The path says which tenant's
// identities are asked, since several tenants may trust an issuer. A tenant that does not
// exist is answered like one that does not trust the token.
func (s *gate) findWorkload(ctx context.Context, ref, token string) (tenant.Principal, error) {
	if s.cfg.Workloads == nil || ref == "" {
		return tenant.Principal{}, tenant.ErrUnauthenticated
	}
	var w call
	err := s.resolveTenant(ctx, &w, ref)
	if errors.Is(err, tenant.ErrNotFound) {
		return tenant.Principal{}, tenant.ErrUnauthenticated
	}
	if err != nil {
		return tenant.Principal{}, err
	}
	return s.cfg.Workloads.Principal(ctx, w.tenantID, token)
}

// authenticateAgain authenticates a request for a tenant, or none, again, which lasts
// longer than its credential may. It is not limited.
func (s *gate) authenticateAgain(ctx context.Context, r *http.Request, ref string) error {
	if caller, signedIn := r.Context().Value(callerKey{}).(console.Caller); signedIn {
		_, err := caller(ctx)
		return err
	}
	_, err := s.findPrincipal(ctx, ref, bearerToken(r))
	return err
}

// bearerToken returns the credential of a request, or "" unless there is
// exactly one.
func bearerToken(r *http.Request) string {
	scheme, key, _ := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(r.Header[echo.HeaderAuthorization]) != 1 {
		return ""
	}
	return key
}

// authorize finds the tenant and checks the permission. To a tenant's
// credential every other tenant does not exist; none is looked up, so that
// response times reveal nothing either.
func (s *gate) authorize(c echo.Context, w *call, a permission) error {
	ref := c.Param("tenant")
	if a.ofTenant && w.TenantID != nil {
		own, err := s.ownsTenant(c.Request().Context(), w, ref)
		if err != nil {
			return err
		}
		if !own {
			s.denials.record(w, a.operation, ref)
			return tenant.ErrNotFound
		}
	}
	if !a.allows(w.Role) {
		s.denials.record(w, a.operation, ref)
		return errForbidden
	}
	if !a.ofTenant || w.TenantID != nil {
		return nil
	}
	return s.resolveTenant(c.Request().Context(), w, ref)
}

// ownsTenant reports whether ref names the tenant of a tenant's credential.
func (s *gate) ownsTenant(ctx context.Context, w *call, ref string) (bool, error) {
	snap, _, err := s.cfg.Snapshots.Get(ctx, w.TenantID.String())
	if err != nil {
		return false, err
	}
	w.tenantID, w.slug = snap.TenantID, snap.Slug
	id, isID := tenant.ParseID(ref)
	return ref == snap.Slug || isID && id == snap.TenantID, nil
}

// resolveTenant finds a live tenant, from the cache if possible. A tenant with
// unreadable keys is found too, so that an administrator can repair it.
func (s *gate) resolveTenant(ctx context.Context, w *call, ref string) error {
	if !isRef(ref) {
		return tenant.ErrNotFound
	}
	snap, _, err := s.cfg.Snapshots.Get(ctx, ref)
	switch {
	case err == nil:
		w.tenantID, w.slug = snap.TenantID, snap.Slug
		return nil
	case errors.Is(err, tenant.ErrNotFound), errors.Is(err, tenant.ErrUnavailable):
		return err
	}
	t, err := s.cfg.Tenants.Get(ctx, ref)
	w.tenantID, w.slug = t.ID, t.Slug
	return err
}
