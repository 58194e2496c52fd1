package tenant

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
)

// Spec is a request for a new tenant. Policies must be complete: start each with
// [DefaultPolicy], and Caching with [DefaultCaching].
type Spec struct {
	Slug         string
	Name         string
	Issuer       string // empty: derived from the public URL and the slug
	CustomDomain string // empty: none
	Caching      Caching
	Freezes      []Freeze // windows without scheduled rotations
	Policies     []Policy // none: ES256 with the defaults

	ApprovalRequired []Operation     // operations that require a second person's approval
	Metadata         json.RawMessage // members of its discovery documents; empty: none
	JWKSPath         string          // a further path of its JWK Set; empty: none
	JWKSHeaders      map[string]string
}

// PlatformSpec returns the spec of the platform's own tenant, which no request may
// create.
func PlatformSpec() Spec {
	s := Spec{Slug: PlatformSlug, Name: "Platform", Caching: DefaultCaching}
	s.complete()
	return s
}

// Tenant returns the new tenant of a valid spec.
func (s Spec) Tenant(id uuid.UUID, at time.Time) Tenant {
	return Tenant{
		ID: id, Slug: s.Slug, Name: s.Name, OwnIssuer: s.Issuer, CustomDomain: s.CustomDomain,
		Status: Active, Caching: s.Caching, Freezes: s.Freezes, ApprovalRequired: s.ApprovalRequired, Metadata: s.Metadata,
		JWKSPath: s.JWKSPath, JWKSHeaders: s.JWKSHeaders, CreatedAt: at, UpdatedAt: at,
	}
}

// complete fills in defaults: a policy if there is none, Default if there is only
// one, the host name in lower case.
func (s *Spec) complete() {
	s.CustomDomain = LowerDomain(s.CustomDomain)
	s.Policies = slices.Clone(s.Policies)
	if len(s.Policies) == 0 {
		s.Policies = []Policy{DefaultPolicy(jose.ES256)}
	}
	if len(s.Policies) == 1 {
		s.Policies[0].Default = true
	}
}

// Validate completes the spec and checks it. Without policies it gets one, ES256
// with the defaults; a single policy becomes the default; the custom domain is
// lower-cased, freezes and metadata members are sorted. The error is a *FieldErrors
// if the request is malformed, a *PolicyError if its policies break a rule.
func (s *Spec) Validate() error {
	s.complete()
	var broken fields
	validateSlug(&broken, s.Slug)
	validateName(&broken, s.Name)
	validateIssuer(&broken, s.Issuer)
	validateDomain(&broken, s.CustomDomain)
	s.Caching.validate(&broken)
	validateFreezes(&broken, s.Freezes)
	validateGuarded(&broken, s.ApprovalRequired)
	validateMetadata(&broken, s.Metadata)
	validateJWKSPath(&broken, s.JWKSPath)
	validateHeaders(&broken, s.JWKSHeaders)
	if err := broken.fieldErrors(); err != nil {
		return err
	}
	s.Freezes = sortFreezes(s.Freezes)
	s.ApprovalRequired = sortGuarded(s.ApprovalRequired)
	s.Metadata = canonicalMetadata(s.Metadata)
	s.JWKSHeaders = canonicalHeaders(s.JWKSHeaders)
	return s.validatePolicies()
}

func (s *Spec) validatePolicies() error {
	var broken fields
	defaults, seen := 0, map[jose.SignatureAlgorithm]bool{}
	for i, p := range s.Policies {
		at := fmt.Sprintf("policies[%d].", i)
		var bad *PolicyError
		if errors.As(p.Validate(s.Caching), &bad) {
			for _, f := range bad.Fields {
				broken.add(at+f.Field, "%s", f.Message)
			}
		}
		if seen[p.Alg] {
			broken.add(at+"alg", "must not be named twice")
		}
		if seen[p.Alg] = true; p.Default {
			defaults++
		}
	}
	if defaults != 1 {
		broken.add("policies", "must have exactly one with default true, not %d", defaults)
	}
	return broken.policyError()
}
