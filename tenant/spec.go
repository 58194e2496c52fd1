package tenant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Spec asks for a new tenant. Policies are complete: begin each with
// [DefaultPolicy], and Caching with [DefaultCaching].
type Spec struct {
	Slug         string
	Name         string
	Issuer       string // empty: the public URL and the slug make it
	CustomDomain string // empty: none
	Caching      Caching
	Policies     []Policy // none: ES256 with the defaults

	// BuiltIn is set by the platform for its own tenant, which alone is called
	// PlatformSlug. It never comes from a request.
	BuiltIn bool
}

// Complete fills in what follows from the rest: the policy where none is
// named, the default where there is but one policy, a host name in lower case.
func (s Spec) Complete() Spec {
	s.CustomDomain = strings.ToLower(s.CustomDomain)
	s.Policies = slices.Clone(s.Policies)
	if len(s.Policies) == 0 {
		s.Policies = []Policy{DefaultPolicy(jose.ES256)}
	}
	if len(s.Policies) == 1 {
		s.Policies[0].Default = true
	}
	return s
}

// Validate checks the completed spec. The error is a *FieldErrors where the
// request is malformed, else a *PolicyError where its policies break a rule.
func (s Spec) Validate() error {
	s = s.Complete()
	var broken fields
	s.validateSlug(&broken)
	validateName(&broken, s.Name)
	validateIssuer(&broken, s.Issuer)
	validateDomain(&broken, s.CustomDomain)
	s.Caching.validate(&broken)
	if err := broken.fieldErrors(); err != nil {
		return err
	}
	return s.validatePolicies()
}

func (s Spec) validateSlug(broken *fields) {
	switch {
	case !slugPattern.MatchString(s.Slug):
		broken.add("slug", "must be 1 to 63 of a-z, 0-9 and -, and neither begin nor end with -")
	case idLike(s.Slug):
		broken.add("slug", "must not look like an id")
	case s.BuiltIn != (s.Slug == PlatformSlug):
		broken.add("slug", "must not be %q, which is the platform's own", PlatformSlug)
	}
}

func (s Spec) validatePolicies() error {
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
