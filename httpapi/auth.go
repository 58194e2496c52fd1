package httpapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// call is who asks, and about which tenant.
type call struct {
	tenant.Principal
	requestID string
	tenantID  uuid.UUID // of the tenant in the path
	slug      string

	request  *requestReader  // what was asked, where somebody may have to agree; else nil
	approval *audit.Approval // who agreed; nil where nobody had to
}

// gate authenticates and authorizes the requests for the admin API, and limits
// their rate.
type gate struct {
	cfg       *Config
	clients   proxies
	byCaller  *limiter[string]       // requests, by credential
	failures  *limiter[netip.Prefix] // failed authentications, by client network
	limitedBy *limitedBy
	denials   *denials
}

func newGate(cfg *Config) (*gate, error) {
	limited, err := newLimitedBy(cfg)
	return &gate{
		cfg: cfg, clients: proxies{cfg.TrustedProxies}, byCaller: newLimiter[string](cfg.RateLimits.Credential),
		failures: newLimiter[netip.Prefix](Rate{20, time.Second}), limitedBy: limited, denials: newDenials(cfg),
	}, err
}

const callKey = "keyward.call"

// of returns the call that admin let through.
func of(c echo.Context) *call { return c.Get(callKey).(*call) }

// by is on whose behalf a handler makes a change.
func by(c echo.Context) audit.By { return of(c).by() }

func (w *call) by() audit.By {
	return audit.By{Actor: w.Actor, RequestID: w.requestID, Approval: w.approval}
}

// admin lets through whom a permission allows. Everything behind it is for its
// caller's eyes only.
func (s *gate) admin(a access, next echo.HandlerFunc) echo.HandlerFunc {
	limit := int64(maxBody)
	if a.operation == "signTokens" {
		limit = maxBatchBody
	}
	return func(c echo.Context) error {
		private(c.Response().Header())
		p, err := s.authenticate(c.Request())
		if err != nil {
			return err
		}
		if err := s.notTooOften(p); err != nil {
			return err
		}
		w := &call{Principal: p, requestID: c.Response().Header().Get(echo.HeaderXRequestID)}
		if err := s.authorize(c, w, a); err != nil {
			return err
		}
		c.Set(callKey, w)
		c.Request().Body = http.MaxBytesReader(c.Response().Writer, c.Request().Body, limit)
		if a.needs != "" {
			w.request = digesting(c.Request(), a.needs)
		}
		err = next(c)
		if a.changes { // whatever err says: a commit may have outlived it
			s.cfg.caches().Changed(w.tenantID, w.slug)
		}
		return err
	}
}

// What every answer to a credential has. The slices are shared: nothing appends
// to them.
var (
	noStore    = []string{"no-store"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	noReferrer = []string{"no-referrer"}
)

func private(h http.Header) {
	h["Cache-Control"], h["X-Content-Type-Options"] = noStore, noSniff
	h["Content-Security-Policy"], h["Referrer-Policy"] = noContent, noReferrer
}

// authenticate reads the credential (RFC 6750 section 2.1). Only wrong ones
// count against the client's address; right ones are never slowed down.
func (s *gate) authenticate(r *http.Request) (tenant.Principal, error) {
	key := bearer(r)
	if key == "" {
		return tenant.Principal{}, errNoCredential
	}
	p, err := s.principal(r.Context(), key)
	if errors.Is(err, tenant.ErrUnauthenticated) {
		if wait := s.failures.take(s.clients.network(r), s.cfg.Now()); wait > 0 {
			s.limitedBy.failures.Inc()
			return tenant.Principal{}, &rateLimitedError{wait}
		}
	}
	return p, err
}

// notTooOften holds a credential to its rate, if there is one.
func (s *gate) notTooOften(p tenant.Principal) error {
	if s.cfg.RateLimits.Credential == (Rate{}) {
		return nil
	}
	if wait := s.byCaller.take(p.Actor.ID, s.cfg.Now()); wait > 0 {
		s.limitedBy.credential.Inc()
		return &rateLimitedError{wait}
	}
	return nil
}

// principal is whose credential that is: an API key, or a token of the
// operator's identity provider, which has the form of a JWS (RFC 7515 section
// 7.1) and none of a key.
func (s *gate) principal(ctx context.Context, credential string) (tenant.Principal, error) {
	if s.cfg.SignIn == nil || strings.HasPrefix(credential, "kw_") || strings.Count(credential, ".") != 2 {
		return s.cfg.Tenants.Authenticate(ctx, credential)
	}
	return s.cfg.SignIn.Principal(ctx, credential)
}

// bearer is the one credential of a request, "" if there is none.
func bearer(r *http.Request) string {
	scheme, key, _ := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(r.Header[echo.HeaderAuthorization]) != 1 {
		return ""
	}
	return key
}

// authorize finds the tenant and decides. To a tenant's credential every other
// tenant looks as if it did not exist; nothing is looked up for it, so that not
// even the time it takes tells.
func (s *gate) authorize(c echo.Context, w *call, a access) error {
	ref := c.Param("tenant")
	if a.ofTenant && w.TenantID != nil {
		own, err := s.isOwn(c.Request().Context(), w, ref)
		if err != nil {
			return err
		}
		if !own {
			s.denials.note(w, a.operation, ref)
			return tenant.ErrNotFound
		}
	}
	if !a.allows(w.Role) {
		s.denials.note(w, a.operation, ref)
		return errForbidden
	}
	if !a.ofTenant || w.TenantID != nil {
		return nil
	}
	return s.resolve(c.Request().Context(), w, ref)
}

// isOwn says whether ref names the tenant of a tenant's credential.
func (s *gate) isOwn(ctx context.Context, w *call, ref string) (bool, error) {
	snap, _, err := s.cfg.Snapshots.Get(ctx, w.TenantID.String())
	if err != nil {
		return false, err
	}
	w.tenantID, w.slug = snap.TenantID, snap.Slug
	id, isID := tenant.ParseID(ref)
	return ref == snap.Slug || isID && id == snap.TenantID, nil
}

// resolve finds any live tenant, from memory if it can. A tenant whose keys
// cannot be read is found all the same: somebody has to mend it.
func (s *gate) resolve(ctx context.Context, w *call, ref string) error {
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

// decodeOnce decodes a body and, where the client sent an Idempotency-Key, says
// what makes the request the same as another: the credential, the operation,
// the tenant and the body, byte for byte.
func decodeOnce(c echo.Context, key *IdempotencyKey, v any) (*tenant.Idempotency, error) {
	body, err := readBody(c.Request())
	if err != nil {
		return nil, err
	}
	if err := decodeStrict(body, v); err != nil || key == nil {
		return nil, err
	}
	return &tenant.Idempotency{CredentialID: of(c).Actor.ID, Key: *key, RequestHash: requestHash(c, body)}, nil
}

func requestHash(c echo.Context, body []byte) []byte {
	tenantID := of(c).tenantID // zeros where the path has none
	h := sha256.New()
	h.Write([]byte("keyward request v1\x00" + c.Request().Method + " " + c.Path() + "\x00"))
	h.Write(tenantID[:])
	h.Write(body)
	return h.Sum(nil)
}
