package signin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyward/keyward/tenant"
)

// A Mapping maps claims to roles. The first matching rule decides; rules are
// not combined.
type Mapping []Rule

// Rule gives a role to tokens with a value in a claim.
type Rule struct {
	Claim  string // name, or a path such as realm_access.roles
	Value  string // the claim's value, or an element of its list
	Role   tenant.Role
	Tenant string // slug, for a tenant's role
}

var errMapping = errors.New("signin: not a mapping of claims to roles")

// ParseMapping parses comma-separated rules:
//
//	rules = rule *( "," rule )
//	rule  = claim "=" value ":" role [ "@" tenant ]
//
// The claim ends at the first "=", the value at the last ":", so that a value may
// contain both. A backslash escapes a comma or backslash inside a rule; spaces
// around a rule are ignored. Tenant roles require a tenant, platform roles have
// none.
func ParseMapping(text string) (Mapping, error) {
	var m Mapping
	for _, item := range splitRules(text) {
		r, err := parseRule(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		m = append(m, r)
	}
	return m, nil
}

// splitRules splits at commas and removes backslashes, which escape the next
// character.
func splitRules(text string) []string {
	items, escaped := []string{""}, false
	for i := range len(text) {
		last := &items[len(items)-1]
		switch b := text[i]; {
		case escaped, b != ',' && b != '\\':
			*last += string(text[i : i+1])
			escaped = false
		case b == '\\':
			escaped = true
		default:
			items = append(items, "")
		}
	}
	return items
}

func parseRule(text string) (Rule, error) {
	claim, rest, ok := strings.Cut(text, "=")
	at := strings.LastIndexByte(rest, ':')
	if !ok || claim == "" || at < 1 {
		return Rule{}, fmt.Errorf("%w: %q is not claim=value:role", errMapping, text)
	}
	role, slug, ofTenant := strings.Cut(rest[at+1:], "@")
	r := Rule{Claim: claim, Value: rest[:at], Role: tenant.Role(role), Tenant: slug}
	switch {
	case !r.Role.Valid():
		return Rule{}, fmt.Errorf("%w: there is no role %q", errMapping, role)
	case r.Role.OfPlatform() && ofTenant:
		return Rule{}, fmt.Errorf("%w: %s is a role of the platform and has no tenant", errMapping, role)
	case !r.Role.OfPlatform() && !tenant.IsSlug(slug):
		return Rule{}, fmt.Errorf("%w: %s needs the slug of its tenant, as in %s@acme", errMapping, role, role)
	}
	return r, nil
}

// firstMatch returns the first rule that matches the claims.
func (m Mapping) firstMatch(c claims) (Rule, bool) {
	i := slices.IndexFunc(m, func(r Rule) bool { return slices.Contains(c.textValues(r.Claim), r.Value) })
	if i < 0 {
		return Rule{}, false
	}
	return m[i], true
}
