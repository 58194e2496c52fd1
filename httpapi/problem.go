package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/webhook"
)

// ProblemType begins the type of every problem (RFC 9457 section 3.1.1); the
// code follows. It names the problem and is not meant to be fetched.
const ProblemType = "urn:keyward:problem:"

// problems says what each code means in HTTP.
var problems = map[ProblemCode]struct {
	status        int
	title, detail string
}{
	ProblemCodeInvalidRequest:       {http.StatusBadRequest, "Invalid request", "The request is not valid; errors names each field."},
	ProblemCodeUnauthenticated:      {http.StatusUnauthorized, "Unauthenticated", "Send an API key as Authorization: Bearer kw_<id>_<secret>, or a token of the operator's identity provider if there is one."},
	ProblemCodeForbidden:            {http.StatusForbidden, "Forbidden", "The role of this credential does not allow this."},
	ProblemCodeTenantNotFound:       {http.StatusNotFound, "Tenant not found", "There is no such tenant."},
	ProblemCodeKeyNotFound:          {http.StatusNotFound, "Key not found", "The tenant has no such key."},
	ProblemCodeNotFound:             {http.StatusNotFound, "Not found", "There is nothing here."},
	ProblemCodeMethodNotAllowed:     {http.StatusMethodNotAllowed, "Method not allowed", "The Allow header names the methods this path has."},
	ProblemCodeNotAcceptable:        {http.StatusNotAcceptable, "Not acceptable", "No form this has is one the Accept header names."},
	ProblemCodeUnsupportedMediaType: {http.StatusUnsupportedMediaType, "Unsupported media type", "The body must be JSON: Content-Type: application/json."},
	ProblemCodeConflict:             {http.StatusConflict, "Conflict", "This contradicts what is there already."},
	ProblemCodeInvalidTransition:    {http.StatusConflict, "Invalid transition", "The key cannot make this move from the state it is in."},
	ProblemCodeTenantSuspended:      {http.StatusConflict, "Tenant suspended", "The tenant does not sign while it is suspended."},
	ProblemCodePayloadTooLarge:      {http.StatusRequestEntityTooLarge, "Payload too large", "The body is larger than this accepts."},
	ProblemCodePolicyViolation:      {http.StatusUnprocessableEntity, "Policy violation", "This breaks a rule of the policy; errors names each one."},
	ProblemCodeRateLimited:          {http.StatusTooManyRequests, "Rate limited", "Too many requests; the Retry-After header says when to try again."},
	ProblemCodeInternal:             {http.StatusInternalServerError, "Internal error", "An error of the server; the X-Request-Id header names it in the log."},
	ProblemCodeUnavailable:          {http.StatusServiceUnavailable, "Unavailable", "The service cannot answer now and has changed nothing; try again."},
}

// newProblem is the problem of a code; an empty detail means the code's own.
func newProblem(code ProblemCode, detail string, fields ...FieldError) *Problem {
	p := problems[code]
	if detail == "" {
		detail = p.detail
	}
	return &Problem{
		Type: ProblemType + string(code), Title: p.title, Status: p.status,
		Detail: detail, Code: code, Errors: fields,
	}
}

// Error makes a Problem an error that a handler can return as it is.
func (p *Problem) Error() string { return fmt.Sprintf("%s: %s", p.Code, p.Detail) }

// Errors that begin in this package.
var (
	errNoCredential = errors.New("httpapi: no credential")
	errForbidden    = errors.New("httpapi: role does not allow it")
)

// rateLimitedError refuses a request until some time has passed.
type rateLimitedError struct{ retryAfter time.Duration }

func (e *rateLimitedError) Error() string {
	return fmt.Sprintf("httpapi: rate limited for %s", e.retryAfter)
}

// rule turns the errors it knows into a problem, any other one into nil.
type rule func(error) *Problem

// rules is the bridge between the errors of the packages below and what a
// caller sees. The first rule that knows an error decides; an error that none
// knows says nothing to the caller, is logged and answered as internal.
var rules = []rule{
	is(errNoCredential, ProblemCodeUnauthenticated, ""),
	is(tenant.ErrUnauthenticated, ProblemCodeUnauthenticated, "The credential is not valid, has expired or was revoked."),
	is(errForbidden, ProblemCodeForbidden, ""),
	is(tenant.ErrNoRole, ProblemCodeForbidden, "The identity provider knows you, but gives you no role here."),
	is(tenant.ErrNoIdentityProvider, ProblemCodeUnavailable, "The identity provider does not answer, so that nobody can sign in by it now; try again."),
	as(func(*rateLimitedError) *Problem { return newProblem(ProblemCodeRateLimited, "") }),

	is(tenant.ErrNotFound, ProblemCodeTenantNotFound, ""),
	is(tenant.ErrSlugTaken, ProblemCodeConflict, "This slug is in use."),
	is(tenant.ErrDomainTaken, ProblemCodeConflict, "This custom domain is in use."),
	is(tenant.ErrSuspended, ProblemCodeTenantSuspended, ""),
	is(tenant.ErrBuiltIn, ProblemCodeConflict, "The platform's own tenant cannot be suspended or deleted."),
	is(tenant.ErrNoAPIKey, ProblemCodeNotFound, "There is no such API key."),
	is(tenant.ErrIdempotencyMismatch, ProblemCodeConflict, "This Idempotency-Key was used for another request."),
	is(tenant.ErrBadCursor, ProblemCodeInvalidRequest, "The cursor is not one that this list returned."),
	is(tenant.ErrNoApproval, ProblemCodeNotFound, "There is no such approval."),
	is(tenant.ErrOwnRequest, ProblemCodeForbidden, "You asked for this approval; a second person has to decide."),
	is(tenant.ErrOtherRequester, ProblemCodeForbidden, "Somebody else asked for this approval; only they can use it."),
	is(tenant.ErrOtherRequest, ProblemCodeConflict, "The approval is for another request: operation, path, query and body must be the same."),
	is(tenant.ErrApproverRevoked, ProblemCodeConflict, "The credential that approved this has been revoked since; ask for another approval."),
	is(tenant.ErrNeedsApproval, ProblemCodeConflict, "Taking operations off approval_required needs an approval, and the list has just changed; try again."),
	as(func(e *tenant.ApprovalStatusError) *Problem {
		return newProblem(ProblemCodeConflict, "The approval is "+string(e.Status)+".")
	}),
	is(tenant.ErrUnavailable, ProblemCodeUnavailable, ""), // is also moves.ErrUnavailable, audit.ErrUnavailable and webhook.ErrUnavailable
	as(func(e *tenant.FieldErrors) *Problem {
		return newProblem(ProblemCodeInvalidRequest, "", fieldErrors(e.Fields)...)
	}),
	as(func(e *tenant.PolicyError) *Problem {
		return newProblem(ProblemCodePolicyViolation, "", fieldErrors(e.Fields)...)
	}),

	is(audit.ErrNotFound, ProblemCodeTenantNotFound, ""),
	is(audit.ErrBroken, ProblemCodeConflict, "The tenant's hash chain is broken; audit/verify says where."),
	is(audit.ErrBadPosition, ProblemCodeInvalidRequest, "The last event id is not one of this stream, or the database is older than it; read the state and begin without one."),
	is(audit.ErrBadCursor, ProblemCodeInvalidRequest, "The cursor is not one that this list returned."),

	is(webhook.ErrNotFound, ProblemCodeNotFound, "There is no such webhook."),
	is(webhook.ErrNoDelivery, ProblemCodeNotFound, "The webhook has no such delivery."),
	is(webhook.ErrTooMany, ProblemCodeConflict, "There are 20 webhooks, which is all there may be; delete one first."),
	is(webhook.ErrDisabled, ProblemCodeConflict, "The webhook is disabled; enable it first."),
	is(webhook.ErrBadCursor, ProblemCodeInvalidRequest, "The cursor is not one that this list returned."),

	is(moves.ErrNotFound, ProblemCodeKeyNotFound, ""),
	is(signing.ErrNotDeleted, ProblemCodeTenantNotFound, "There is no deleted tenant of this id."),
	is(keys.ErrPolicyNotFound, ProblemCodePolicyViolation, "The tenant has no policy for this algorithm."),
	is(moves.ErrDefaultPolicy, ProblemCodeConflict, "The default policy cannot be retired; make another one the default first."),
	is(moves.ErrRotationWaits, ProblemCodeConflict, "max_published_keys leaves no room while tokens of the oldest key may live."),
	is(moves.ErrPlatformImport, ProblemCodeConflict, "The platform's own tenant takes no keys from outside."),
	as(func(e *moves.UsedKIDError) *Problem {
		return newProblem(ProblemCodeConflict, "The tenant has, or had, a key of this kid: "+e.KID)
	}),
	is(keys.ErrBadCursor, ProblemCodeInvalidRequest, "The cursor is not one that this list returned."),
	is(signing.ErrNoActiveKey, ProblemCodeUnavailable, "The tenant has no key that signs at the moment; try again."),
	as(refusedClaim),
	is(tokens.ErrInvalid, ProblemCodeInvalidRequest, "The payload cannot be signed in the form asked for."),
	as(refusedMove),
	is(keys.ErrInvalidTransition, ProblemCodeInvalidTransition, ""),

	as(func(*http.MaxBytesError) *Problem { return newProblem(ProblemCodePayloadTooLarge, "") }),
	is(context.DeadlineExceeded, ProblemCodeUnavailable, ""),
	is(context.Canceled, ProblemCodeUnavailable, ""),
	as(func(p *Problem) *Problem { return p }),
	as(routing), // last: echo wraps errors of ours
}

// is knows one sentinel; an empty detail means the code's own.
func is(target error, code ProblemCode, detail string) rule {
	return func(err error) *Problem {
		if !errors.Is(err, target) {
			return nil
		}
		return newProblem(code, detail)
	}
}

// as knows one type of error and what to tell of the data in it.
func as[E error](tell func(E) *Problem) rule {
	return func(err error) *Problem {
		var e E
		if !errors.As(err, &e) {
			return nil
		}
		return tell(e)
	}
}

func refusedMove(e *keys.StateError) *Problem {
	if e.From == keys.Born {
		return newProblem(ProblemCodeInvalidTransition, "")
	}
	return newProblem(ProblemCodeInvalidTransition, fmt.Sprintf("The key is %s and cannot become %s.", e.From, e.To))
}

// refusedClaim tells what makes no sense from what the policy does not allow.
func refusedClaim(e *tokens.ClaimError) *Problem {
	code := ProblemCodeInvalidRequest
	if errors.Is(e, tokens.ErrPolicy) {
		code = ProblemCodePolicyViolation
	}
	return newProblem(code, "", FieldError{Field: e.Field, Message: e.Message})
}

func fieldErrors(broken []tenant.FieldError) []FieldError {
	fields := make([]FieldError, len(broken))
	for i, f := range broken {
		fields[i] = FieldError(f)
	}
	return fields
}

// routing maps what echo itself refuses. Its messages are not passed on: those
// of the generated binding repeat what the client sent.
func routing(e *echo.HTTPError) *Problem {
	if e.Code == http.StatusBadRequest {
		return newProblem(ProblemCodeInvalidRequest, "A parameter does not have the form it should have.")
	}
	for _, code := range []ProblemCode{
		ProblemCodeUnauthenticated, ProblemCodeForbidden, ProblemCodeNotFound, ProblemCodeMethodNotAllowed,
		ProblemCodeNotAcceptable, ProblemCodePayloadTooLarge, ProblemCodeUnsupportedMediaType,
		ProblemCodeRateLimited, ProblemCodeUnavailable,
	} {
		if problems[code].status == e.Code {
			return newProblem(code, "")
		}
	}
	return nil
}

// problemOf is what a caller may know of an error; known is false for an error
// that no rule expects.
func problemOf(err error) (p *Problem, known bool) {
	for _, r := range rules {
		if p := r(err); p != nil {
			return p, true
		}
	}
	return newProblem(ProblemCodeInternal, ""), false
}
