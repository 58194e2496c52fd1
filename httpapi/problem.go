package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/internal/admission"
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

// problems maps each code to its status, title and default detail.
var problems = map[ProblemCode]struct {
	status        int
	title, detail string
}{
	ProblemCodeInvalidRequest:       {http.StatusBadRequest, "Invalid request", "The request is not valid; errors names each field."},
	ProblemCodeUnauthenticated:      {http.StatusUnauthorized, "Unauthenticated", "Send an API key as Authorization: Bearer kw_<id>_<secret>, or a token of the operator's identity provider if there is one."},
	ProblemCodeForbidden:            {http.StatusForbidden, "Forbidden", "The role of this credential does not allow this."},
	ProblemCodeTenantNotFound:       {http.StatusNotFound, "Tenant not found", "There is no such tenant."},
	ProblemCodeKeyNotFound:          {http.StatusNotFound, "Key not found", "The tenant has no such key."},
	ProblemCodeNotFound:             {http.StatusNotFound, "Not found", "There is no such resource."},
	ProblemCodeMethodNotAllowed:     {http.StatusMethodNotAllowed, "Method not allowed", "The Allow header names the methods this path has."},
	ProblemCodeNotAcceptable:        {http.StatusNotAcceptable, "Not acceptable", "None of the media types in the Accept header is available."},
	ProblemCodeUnsupportedMediaType: {http.StatusUnsupportedMediaType, "Unsupported media type", "The body must be JSON: Content-Type: application/json."},
	ProblemCodeConflict:             {http.StatusConflict, "Conflict", "The request conflicts with the current state."},
	ProblemCodeInvalidTransition:    {http.StatusConflict, "Invalid transition", "The state of the key does not allow this transition."},
	ProblemCodeTenantSuspended:      {http.StatusConflict, "Tenant suspended", "The tenant does not sign while it is suspended."},
	ProblemCodePayloadTooLarge:      {http.StatusRequestEntityTooLarge, "Payload too large", "The body exceeds the size limit."},
	ProblemCodePolicyViolation:      {http.StatusUnprocessableEntity, "Policy violation", "The request violates rules of the policy; errors names each one."},
	ProblemCodeRateLimited:          {http.StatusTooManyRequests, "Rate limited", "Too many requests; the Retry-After header says when to try again."},
	ProblemCodeInternal:             {http.StatusInternalServerError, "Internal error", "Internal server error; search the log for the X-Request-Id of this answer."},
	ProblemCodeUnavailable:          {http.StatusServiceUnavailable, "Unavailable", "The service is unavailable; try again."},
}

// newProblem returns the problem of a code; an empty detail selects the default
// detail of the code.
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

// Error makes a Problem an error that a handler can return unchanged.
func (p *Problem) Error() string { return fmt.Sprintf("%s: %s", p.Code, p.Detail) }

// Errors that begin in this package.
var (
	errNoCredential = errors.New("httpapi: no credential")
	errForbidden    = errors.New("httpapi: role does not allow it")
)

// rateLimitedError refuses a request until some time has passed.
type rateLimitedError struct{ retryAfter time.Duration }

// RetryIn returns the time that has to pass.
func (e *rateLimitedError) RetryIn() time.Duration { return e.retryAfter }

func (e *rateLimitedError) Error() string {
	return fmt.Sprintf("httpapi: rate limited for %s", e.retryAfter)
}

// rule turns a known error into a problem; it returns nil for any other error.
type rule func(error) *Problem

// rules maps the errors of the packages below to problems. The first rule that
// knows an error decides. An unknown error is logged and answered as internal,
// without details.
var rules = []rule{
	sentinelRule(errNoCredential, ProblemCodeUnauthenticated, ""),
	sentinelRule(tenant.ErrUnauthenticated, ProblemCodeUnauthenticated, "The credential is not valid, has expired or was revoked."),
	sentinelRule(errForbidden, ProblemCodeForbidden, ""),
	sentinelRule(tenant.ErrNoRole, ProblemCodeForbidden, "The identity provider assigns you no role in Keyward."),
	sentinelRule(tenant.ErrNoIdentityProvider, ProblemCodeUnavailable, "The issuer of the token, an identity provider, is unavailable, so its tokens cannot be verified now; try again."),
	typeRule(func(*rateLimitedError) *Problem { return newProblem(ProblemCodeRateLimited, "") }),
	typeRule(func(*moves.RateError) *Problem {
		return newProblem(ProblemCodeRateLimited, "The tenant has reached its rate of new RSA keys; the Retry-After header says when to try again.")
	}),
	typeRule(func(e *tenant.LimitError) *Problem {
		return newProblem(ProblemCodePolicyViolation, fmt.Sprintf("The limit of %d %s is reached.", e.Limit, e.What))
	}),
	typeRule(func(*admission.BusyError) *Problem {
		return newProblem(ProblemCodeRateLimited, "Too many names that do not exist are being looked up; the Retry-After header says when to try again.")
	}),

	sentinelRule(tenant.ErrNotFound, ProblemCodeTenantNotFound, ""),
	sentinelRule(tenant.ErrSlugTaken, ProblemCodeConflict, "This slug is in use."),
	sentinelRule(tenant.ErrDomainTaken, ProblemCodeConflict, "This custom domain is in use."),
	sentinelRule(tenant.ErrForged, ProblemCodeInternal, ""), // logged once, by the process that refused the row
	sentinelRule(tenant.ErrIssuerTaken, ProblemCodeConflict, "This issuer is in use."),
	sentinelRule(tenant.ErrHostNotVerified, ProblemCodePolicyViolation, "The hosts of custom_domain and issuer must be ones that this tenant has verified; see domains. Some names cannot be used even so."),
	sentinelRule(tenant.ErrNoDomain, ProblemCodeNotFound, "The tenant has not claimed this host."),
	sentinelRule(tenant.ErrDomainInUse, ProblemCodeConflict, "The host is the tenant's custom_domain, or that of its issuer; change these first."),
	sentinelRule(tenant.ErrTooManyDomains, ProblemCodeConflict, "The limit of 100 hosts is reached; remove one first."),
	sentinelRule(tenant.ErrDomainNotVerified, ProblemCodePolicyViolation, "DNS has no TXT record of txt_name with txt_value (a new record may take its time), or the host cannot be verified for this tenant."),
	sentinelRule(tenant.ErrNoNameServer, ProblemCodeUnavailable, "The name servers of the host did not answer; try again."),
	sentinelRule(tenant.ErrSuspended, ProblemCodeTenantSuspended, ""),
	sentinelRule(tenant.ErrBuiltIn, ProblemCodeConflict, "The platform's own tenant cannot be suspended or deleted."),
	sentinelRule(tenant.ErrNoAPIKey, ProblemCodeNotFound, "There is no such API key."),
	sentinelRule(tenant.ErrNoWorkload, ProblemCodeNotFound, "There is no such workload identity."),
	sentinelRule(tenant.ErrMadeByWorkload, ProblemCodeForbidden, "A workload creates no credentials and no workload identities: they would outlive its token."),
	sentinelRule(tenant.ErrTooManyAnswers, ProblemCodeRateLimited, fmt.Sprintf("The answers to %d requests with an Idempotency-Key are stored for this credential in the tenant, or to %d for the tenant. They are kept for 24 hours; requests without the header are carried out.", tenant.MaxAnswersOfCredential, tenant.MaxAnswersOfTenant)),
	sentinelRule(tenant.ErrIdempotencyMismatch, ProblemCodeConflict, "This Idempotency-Key was used for another request."),
	sentinelRule(tenant.ErrAnswerUnreadable, ProblemCodeConflict, "This request was carried out, and its answer cannot be read any more; read the state instead."),
	sentinelRule(tenant.ErrBadCursor, ProblemCodeInvalidRequest, "The cursor is not one that this list returned."),
	sentinelRule(tenant.ErrNoApproval, ProblemCodeNotFound, "There is no such approval."),
	sentinelRule(tenant.ErrOwnRequest, ProblemCodeForbidden, "You requested this approval; a second person must decide."),
	sentinelRule(tenant.ErrNotSecondPerson, ProblemCodeForbidden, "A second person must decide: this credential is a workload's or newer than the request, or it and the requester's were made by one another or by the same person."),
	sentinelRule(tenant.ErrOtherRequester, ProblemCodeForbidden, "Another caller requested this approval; only that caller can use it."),
	sentinelRule(tenant.ErrOtherRequest, ProblemCodeConflict, "The approval is for another request: operation, path, query and body must be the same."),
	sentinelRule(tenant.ErrApproverRevoked, ProblemCodeConflict, "The credential that approved this has been revoked since; ask for another approval."),
	sentinelRule(tenant.ErrTooManyApprovals, ProblemCodeConflict, "The limit of 1000 approvals that wait, or of 10000 that were asked for within 24 hours, is reached."),
	sentinelRule(tenant.ErrNeedsApproval, ProblemCodeConflict, "This needs the approval of a second person."),
	typeRule(func(e *tenant.ApprovalStatusError) *Problem {
		return newProblem(ProblemCodeConflict, "The approval is "+string(e.Status)+".")
	}),
	sentinelRule(tenant.ErrClock, ProblemCodeUnavailable, "The clock of this process differs from the database's, so it neither changes nor signs."),
	sentinelRule(tenant.ErrUnknownOutcome, ProblemCodeUnavailable, ""),
	sentinelRule(tenant.ErrUnavailable, ProblemCodeUnavailable, ""), // is also moves.ErrUnavailable, audit.ErrUnavailable and webhook.ErrUnavailable
	typeRule(func(e *tenant.FieldErrors) *Problem {
		return newProblem(ProblemCodeInvalidRequest, "", fieldErrors(e.Fields)...)
	}),
	typeRule(func(e *tenant.PolicyError) *Problem {
		return newProblem(ProblemCodePolicyViolation, "", fieldErrors(e.Fields)...)
	}),

	sentinelRule(audit.ErrNotFound, ProblemCodeTenantNotFound, ""),
	sentinelRule(audit.ErrBroken, ProblemCodeConflict, "The tenant's hash chain is broken; audit/verify says where."),
	sentinelRule(audit.ErrBadPosition, ProblemCodeInvalidRequest, "The last event id is not one of this stream, or the database is older than it; read the state and begin without one."),
	sentinelRule(audit.ErrBadCursor, ProblemCodeInvalidRequest, "The cursor is not one that this list returned."),

	sentinelRule(webhook.ErrNotFound, ProblemCodeNotFound, "There is no such webhook."),
	sentinelRule(webhook.ErrNoDelivery, ProblemCodeNotFound, "The webhook has no such delivery."),
	sentinelRule(webhook.ErrTooMany, ProblemCodeConflict, "The limit of 20 webhooks is reached; delete one first."),
	sentinelRule(webhook.ErrDisabled, ProblemCodeConflict, "The webhook is disabled; enable it first."),
	sentinelRule(webhook.ErrBadCursor, ProblemCodeInvalidRequest, "The cursor is not one that this list returned."),

	sentinelRule(moves.ErrNotFound, ProblemCodeKeyNotFound, ""),
	sentinelRule(signing.ErrNotDeleted, ProblemCodeTenantNotFound, "There is no deleted tenant of this id."),
	sentinelRule(keys.ErrPolicyNotFound, ProblemCodePolicyViolation, "The tenant has no policy for this algorithm."),
	sentinelRule(moves.ErrDefaultPolicy, ProblemCodeConflict, "The default policy cannot be retired; make another one the default first."),
	sentinelRule(moves.ErrRotationWaits, ProblemCodeConflict, "max_published_keys is reached, and tokens of the oldest published key may still be valid."),
	sentinelRule(moves.ErrPlatformImport, ProblemCodeConflict, "Keys cannot be imported into the platform's own tenant."),
	typeRule(func(e *moves.UsedKIDError) *Problem {
		return newProblem(ProblemCodeConflict, "The tenant has, or had, a key of this kid: "+e.KID)
	}),
	sentinelRule(keys.ErrBadCursor, ProblemCodeInvalidRequest, "The cursor is not one that this list returned."),
	sentinelRule(signing.ErrNoActiveKey, ProblemCodeUnavailable, "The tenant has no active key at the moment; try again."),
	typeRule(func(*signing.OverloadError) *Problem {
		return newProblem(ProblemCodeUnavailable, "More is to be signed and verified than this process can do; the Retry-After header says when to try again.")
	}),
	typeRule(claimProblem),
	sentinelRule(tokens.ErrInvalid, ProblemCodeInvalidRequest, "The payload cannot be signed in the requested form."),
	typeRule(transitionProblem),
	sentinelRule(keys.ErrInvalidTransition, ProblemCodeInvalidTransition, ""),

	typeRule(func(*http.MaxBytesError) *Problem { return newProblem(ProblemCodePayloadTooLarge, "") }),
	sentinelRule(context.DeadlineExceeded, ProblemCodeUnavailable, ""),
	sentinelRule(context.Canceled, ProblemCodeUnavailable, ""),
	typeRule(func(p *Problem) *Problem { return p }),
	typeRule(routingProblem), // last, since echo wraps our errors
}

// sentinelRule knows one sentinel error; an empty detail selects the default
// detail of the code.
func sentinelRule(target error, code ProblemCode, detail string) rule {
	return func(err error) *Problem {
		if !errors.Is(err, target) {
			return nil
		}
		return newProblem(code, detail)
	}
}

// typeRule knows one type of error and how to describe its data.
func typeRule[E error](tell func(E) *Problem) rule {
	return func(err error) *Problem {
		var e E
		if !errors.As(err, &e) {
			return nil
		}
		return tell(e)
	}
}

func transitionProblem(e *keys.StateError) *Problem {
	if e.From == keys.Born {
		return newProblem(ProblemCodeInvalidTransition, "")
	}
	return newProblem(ProblemCodeInvalidTransition, fmt.Sprintf("The key is %s and cannot become %s.", e.From, e.To))
}

// claimProblem separates malformed claims (400) from violations of the policy
// (422).
func claimProblem(e *tokens.ClaimError) *Problem {
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

// routingProblem maps echo's own errors. Their messages are dropped, since
// those of the generated binding repeat the client's input.
func routingProblem(e *echo.HTTPError) *Problem {
	if e.Code == http.StatusBadRequest {
		return newProblem(ProblemCodeInvalidRequest, "A parameter has an invalid form.")
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

// problemOf returns the problem for an error; known is false for an unexpected
// error.
func problemOf(err error) (p *Problem, known bool) {
	for _, r := range rules {
		if p := r(err); p != nil {
			return p, true
		}
	}
	return newProblem(ProblemCodeInternal, ""), false
}
