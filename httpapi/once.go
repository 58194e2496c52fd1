package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

const (
	headerIdempotencyKey     = "Idempotency-Key"
	headerIdempotentReplayed = "Idempotent-Replayed"
)

// changeError is the error of a request that may have changed something, with what is
// known of that.
type changeError struct {
	error
	outcome tenant.Outcome
}

func (e *changeError) Unwrap() error { return e.error }

// reportOutcome adds to the errors of next whether anything was changed.
func reportOutcome(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		ctx, outcome := tenant.FollowChange(r.Context())
		c.SetRequest(r.WithContext(ctx))
		if err := callHandler(next, c); err != nil {
			return &changeError{err, outcome(err)}
		}
		return nil
	}
}

// reportUnchanged is reportOutcome for operations that change nothing but the stored
// answer to an Idempotency-Key.
func reportUnchanged(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		if err == nil {
			return nil
		}
		outcome := tenant.OutcomeUnchanged
		if errors.Is(err, tenant.ErrUnknownOutcome) {
			outcome = tenant.OutcomeUnknown
		}
		return &changeError{err, outcome}
	}
}

// withOutcome returns the problem of a failed change, which says what is known of the
// change.
func (p *Problem) withOutcome(err error) *Problem {
	var failed *changeError
	if p.Status < http.StatusInternalServerError || !errors.As(err, &failed) {
		return p
	}
	q := *p
	q.Outcome = new(ProblemOutcome(failed.outcome))
	if failed.outcome == tenant.OutcomeUnknown {
		q.Detail += " The change may have been made: repeat the request with the same Idempotency-Key, or read the state first."
	} else {
		q.Detail += " Nothing was changed."
	}
	return &q
}

// answerOnce answers a request with an Idempotency-Key as the first time, or for the
// first time. Other requests go to next.
func (s *gate) answerOnce(c echo.Context, w *call, a permission, next echo.HandlerFunc) error {
	keys := c.Request().Header[headerIdempotencyKey]
	if len(keys) == 0 || !a.writes {
		return next(c)
	}
	once, body, err := identifyRequest(c, w, a, keys)
	if err != nil {
		return err
	}
	defer clear(body) // it may hold a private key
	r, response := c.Request(), c.Response()
	defer func() { c.SetRequest(r); c.SetResponse(response) }()
	answer, replayed, err := s.cfg.Tenants.RunOnce(r.Context(), once, func(ctx context.Context) (tenant.Answer, error) {
		again := r.WithContext(ctx)
		again.Body = http.NoBody
		if len(body) > 0 {
			again.Body = io.NopCloser(bytes.NewReader(body))
		}
		if a.guarded {
			w.request = digestRequest(again)
		}
		c.SetRequest(again)
		return recordAnswer(c, response, next)
	})
	if err != nil {
		return err
	}
	c.SetResponse(response)
	return sendAnswer(c, answer, replayed)
}

// replayDeletion answers the repeated deletion of a tenant, which is not found any more.
func (s *gate) replayDeletion(c echo.Context, w *call, a permission) error {
	keys := c.Request().Header[headerIdempotencyKey]
	if a.operation != "deleteTenant" || len(keys) == 0 || !a.allows(w.Role) {
		return tenant.ErrNotFound
	}
	c.Request().Body = http.MaxBytesReader(c.Response().Writer, c.Request().Body, maxBody)
	once, _, err := identifyRequest(c, w, a, keys)
	if err != nil {
		return err
	}
	answer, found, err := s.cfg.Tenants.Answered(c.Request().Context(), once)
	if err != nil {
		return err
	}
	if !found {
		return tenant.ErrNotFound
	}
	if wait, preferred := preferredWait(c.Request().Header["Prefer"]); preferred {
		s.tellReplicas(&answer, w, wait, preferred)
	}
	return sendAnswer(c, answer, true)
}

// identifyRequest reads the body of a request with an Idempotency-Key and returns what
// tells it from others: caller, tenant, approval, method, path, query and the exact
// bytes of the body. A deletion belongs to the platform and to the name in its path,
// which may be that of another tenant when it is repeated.
func identifyRequest(c echo.Context, w *call, a permission, keys []string) (once tenant.Once, body []byte, err error) {
	if len(keys) != 1 || !isIdempotencyKey(keys[0]) {
		return once, nil, invalidField(headerIdempotencyKey, "must be given once and have 1 to 255 visible ASCII characters")
	}
	if r := c.Request(); r.Body != nil && r.Body != http.NoBody {
		if body, err = io.ReadAll(r.Body); err != nil {
			return once, nil, bodyError(err)
		}
	}
	once = tenant.Once{CredentialID: w.Actor.ID, Key: keys[0], ApprovalID: c.Request().Header.Get("Keyward-Approval")}
	if a.ofTenant && a.operation != "deleteTenant" {
		once.TenantID = &w.tenantID
	}
	once.RequestHash = hashRequest(c, once.TenantID, body)
	return once, body, nil
}

// isIdempotencyKey reports whether a key matches ^[\x21-\x7e]{1,255}$.
func isIdempotencyKey(key string) bool {
	return len(key) >= 1 && len(key) <= 255 && !slices.ContainsFunc([]byte(key), func(b byte) bool { return b < 0x21 || b > 0x7e })
}

// hashRequest returns the SHA-256 of a request. The slug and the id of a tenant name the
// same one.
func hashRequest(c echo.Context, tenantID *uuid.UUID, body []byte) []byte {
	h := sha256.New()
	add := func(text string) {
		_ = binary.Write(h, binary.BigEndian, uint32(len(text)))
		_, _ = io.WriteString(h, text)
	}
	add("keyward request v2")
	add(c.Request().Method)
	add(c.Path())
	add(c.Request().URL.RawQuery)
	for i, name := range c.ParamNames() {
		if name == "tenant" && tenantID != nil {
			add(tenantID.String())
			continue
		}
		add(c.ParamValues()[i])
	}
	h.Write(body)
	return h.Sum(nil)
}

// recordAnswer calls a handler and returns its answer, instead of sending it.
func recordAnswer(c echo.Context, response *echo.Response, next echo.HandlerFunc) (tenant.Answer, error) {
	base := response.Header()
	rec := &recorder{header: base.Clone()}
	c.SetResponse(echo.NewResponse(rec, c.Echo()))
	if err := next(c); err != nil {
		return tenant.Answer{}, err
	}
	a := tenant.Answer{Status: rec.status, Body: rec.body.Bytes(), Header: map[string]string{}}
	for name, values := range rec.header {
		if len(values) > 0 && !slices.Equal(values, base[name]) {
			a.Header[name] = values[0]
		}
	}
	return a, nil
}

// recorder is a response that is not sent yet.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) { r.status = status }

// Write implements [http.ResponseWriter].
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// sendAnswer sends a recorded or stored answer.
func sendAnswer(c echo.Context, a tenant.Answer, replayed bool) error {
	h := c.Response().Header()
	for name, value := range a.Header {
		h.Set(name, value)
	}
	if replayed {
		h.Set(headerIdempotentReplayed, "true")
	}
	c.Response().WriteHeader(a.Status)
	if len(a.Body) == 0 {
		return nil
	}
	_, err := c.Response().Write(a.Body)
	return err
}
