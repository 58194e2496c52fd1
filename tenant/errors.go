package tenant

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyward/keyward/db"
)

// Errors of this package; test with errors.Is.
var (
	ErrNotFound           = errors.New("tenant: no such tenant")
	ErrSlugTaken          = errors.New("tenant: slug is in use")
	ErrDomainTaken        = errors.New("tenant: custom domain is in use")
	ErrIssuerTaken        = errors.New("tenant: issuer is in use")
	ErrHostNotVerified    = errors.New("tenant: the host is not one that the tenant has verified, or cannot be used")
	ErrPublicURLTaken     = errors.New("tenant: a tenant has its issuer or custom domain at the host of the public URL")
	ErrNoDomain           = errors.New("tenant: no such domain")
	ErrDomainInUse        = errors.New("tenant: the domain is the tenant's custom domain, or the host of its issuer")
	ErrTooManyDomains     = errors.New("tenant: too many domains")
	ErrNoNameServer       = errors.New("tenant: the name servers did not answer")
	ErrDomainNotVerified  = errors.New("tenant: the TXT record was not found, or the domain cannot be verified")
	ErrSuspended          = errors.New("tenant: suspended")
	ErrBuiltIn            = errors.New("tenant: the platform's own tenant cannot be suspended or deleted")
	ErrNoPlatform         = errors.New("tenant: the platform's own tenant does not exist yet")
	ErrNoAPIKey           = errors.New("tenant: no such API key")
	ErrNoWorkload         = errors.New("tenant: no such workload identity")
	ErrMadeByWorkload     = errors.New("tenant: a workload makes no credentials")
	ErrUnauthenticated    = errors.New("tenant: not a valid credential")
	ErrNoRole             = errors.New("tenant: authenticated, but without a role")
	ErrNoIdentityProvider = errors.New("tenant: the identity provider's keys are unavailable")
	ErrBadCursor          = errors.New("tenant: invalid cursor")
	ErrNoApproval         = errors.New("tenant: no such approval")
	ErrOwnRequest         = errors.New("tenant: the requester cannot decide their own request")
	ErrNotSecondPerson    = errors.New("tenant: the approver may be the requester: by descent of their credentials, or newer than the request")
	ErrOtherRequester     = errors.New("tenant: the approval was requested by another actor")
	ErrOtherRequest       = errors.New("tenant: the approval is for another request")
	ErrApproverRevoked    = errors.New("tenant: the credential that approved was revoked")
	ErrTooManyApprovals   = errors.New("tenant: too many requests wait for approval")
	ErrNeedsApproval      = errors.New("tenant: a second person's approval is required")
	ErrUnavailable        = db.ErrUnavailable
	ErrUnknownOutcome     = db.ErrUnknownOutcome // is an ErrUnavailable
	ErrClock              = db.ErrClock          // is an ErrUnavailable
)

// FieldError names an invalid field of a request, as in the API, and the accepted
// values.
type FieldError struct {
	Field   string
	Message string
}

// FieldErrors means that a request is malformed, whatever the stored state.
type FieldErrors struct{ Fields []FieldError }

func (e *FieldErrors) Error() string { return "tenant: invalid " + joinFields(e.Fields) }

// PolicyError means that a policy, or the combination of a tenant's caching and
// policies, would break a promise of the platform.
type PolicyError struct{ Fields []FieldError }

func (e *PolicyError) Error() string { return "tenant: policy violation: " + joinFields(e.Fields) }

func joinFields(fields []FieldError) string {
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = f.Field + " " + f.Message
	}
	return strings.Join(texts, "; ")
}

// fields collects invalid fields.
type fields []FieldError

func (f *fields) add(field, format string, args ...any) {
	*f = append(*f, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// duration adds an error unless d is whole seconds from least to most.
func (f *fields) duration(field string, d, least, most time.Duration) {
	if d < least || d > most || d%time.Second != 0 {
		f.add(field, "must be a whole number of seconds from %d to %d", seconds(least), seconds(most))
	}
}

func (f fields) fieldErrors() error {
	if len(f) == 0 {
		return nil
	}
	return &FieldErrors{Fields: f}
}

func (f fields) policyError() error {
	if len(f) == 0 {
		return nil
	}
	return &PolicyError{Fields: f}
}

// Refused converts the violation of a database constraint to the error of this
// package with the same meaning, and returns other errors unchanged. Validate
// finds the same faults earlier, except those that depend on other rows.
func Refused(err error) error {
	var broken fields
	switch db.Constraint(err) {
	case "tenants_live_slug":
		return fmt.Errorf("%w: %w", ErrSlugTaken, err)
	case "tenants_live_custom_domain":
		return fmt.Errorf("%w: %w", ErrDomainTaken, err)
	case "tenants_live_issuer":
		return fmt.Errorf("%w: %w", ErrIssuerTaken, err)
	case "tenants_platform_stays":
		return fmt.Errorf("%w: %w", ErrBuiltIn, err)
	case "policies_lead_covers_caches":
		broken.add("publish_lead_seconds",
			"must be at least jwks_max_age_seconds + jwks_stale_while_revalidate_seconds + clock_skew_seconds")
	case "policies_grace_covers_tokens":
		broken.add("grace_period_seconds", "must be at least max_token_ttl_seconds + clock_skew_seconds")
	default:
		return err
	}
	return broken.policyError()
}

// LimitError means that a tenant, or the platform, has as many of something as it may
// have.
type LimitError struct {
	What  string // in the plural
	Limit int
}

// Error returns a message that names the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("tenant: the limit of %d %s is reached", e.Limit, e.What)
}
