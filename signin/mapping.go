package signin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyward/keyward/tenant"
)

// A Mapping says which role a token gives. Its first rule that a token meets
// decides, so that the operator's order does and no sum of groups.
type Mapping []Rule

// Rule gives a role to tokens that have a value in a claim.
type Rule struct {
	Claim  string // by name, or a path such as realm_access.roles
	Value  string // the claim is this text, or a list that has it
	Role   tenant.Role
	Tenant string // the slug of the tenant of a tenant's role
}

var errMapping = errors.New("signin: not a mapping of claims to roles")

// ParseMapping reads rules with commas between:
//
//	rules = rule *( "," rule )
//	rule  = claim "=" value ":" role [ "@" tenant ]
//
// The claim ends at the first "=", the value at the last ":", so that a value
// may have both. A comma or backslash that belongs to a rule has a backslash
// before it; spaces around a rule do not count. Platform roles have no tenant,
// tenant roles have one.
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

// splitRules cuts at commas without a backslash before them, and takes the
// backslashes away.
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

// firstMatch is the first rule that the claims meet.
func (m Mapping) firstMatch(c claims) (Rule, bool) {
	i := slices.IndexFunc(m, func(r Rule) bool { return slices.Contains(c.textValues(r.Claim), r.Value) })
	if i < 0 {
		return Rule{}, false
	}
	return m[i], true
}
