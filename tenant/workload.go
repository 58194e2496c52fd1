package tenant

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// WorkloadIdentity says which tokens of another issuer sign in to a tenant, and with
// which role: those of the issuer, for the audience alone, of which every rule holds.
type WorkloadIdentity struct {
	ID               uuid.UUID
	TenantID         uuid.UUID
	Name             string
	Issuer           string // exact iss
	Audience         string // exact and only aud
	JWKSURI          string // of the issuer's keys; empty: found by discovery
	Rules            []ClaimRule
	Role             Role          // of the tenant
	MaxTokenLifetime time.Duration // from a token's iat, and from now, to its exp
	CreatedAt        time.Time
	ExpiresAt        *time.Time // nil: never
	LastUsedAt       *time.Time // flushed from time to time
	CreatedBy        audit.Actor

	// IssuedHere is whether the issuer is one of this service by now, another tenant's too:
	// then its tokens are refused. Only [Store.WorkloadsOf] sets it.
	IssuedHere bool
}

// Expired reports whether the identity has ended at a time.
func (w WorkloadIdentity) Expired(at time.Time) bool {
	return w.ExpiresAt != nil && !at.Before(*w.ExpiresAt)
}

// Actor returns the actor of a workload with this identity and a subject. The id, which
// no other actor has, begins with the identity's: issuers may differ by tenant.
func (w WorkloadIdentity) Actor(subject string) audit.Actor {
	return audit.Actor{Type: audit.ActorWorkload, ID: w.ID.String() + "#" + subject, Name: w.Name}
}

// workloadID returns the id of the identity that an actor signed in by.
func workloadID(actor audit.Actor) (uuid.UUID, bool) {
	text, _, _ := strings.Cut(actor.ID, "#")
	id, ok := ParseID(text)
	return id, ok && actor.Type == audit.ActorWorkload
}

// ClaimRule is a condition on a claim: exactly one of Equals, Prefix and OneOf is set.
// A claim that is a list of strings meets it with one of them.
type ClaimRule struct {
	Claim  string   `json:"claim"` // name, or a path such as kubernetes.io.namespace
	Equals string   `json:"equals,omitempty"`
	Prefix string   `json:"prefix,omitempty"`
	OneOf  []string `json:"one_of,omitempty"`
}

// Holds reports whether a value of the claim meets the condition.
func (r ClaimRule) Holds(value string) bool {
	switch {
	case r.Equals != "":
		return value == r.Equals
	case r.Prefix != "":
		return strings.HasPrefix(value, r.Prefix)
	}
	return slices.Contains(r.OneOf, value)
}

// NewWorkloadIdentity is a request to create a workload identity.
type NewWorkloadIdentity struct {
	TenantID         uuid.UUID
	Name             string
	Issuer           string
	Audience         string
	JWKSURI          string // empty: found by discovery
	Rules            []ClaimRule
	Role             Role
	MaxTokenLifetime time.Duration // 0: an hour
	ExpiresAt        *time.Time    // nil: never
}

// Limits of workload identities.
const (
	maxWorkloads      = 50 // of a tenant that are live, or were made within [CountedFor]
	maxRules          = 10
	maxRuleValues     = 20
	maxRuleText       = 500 // characters of a claim's name or value
	minTokenLifetime  = time.Minute
	maxTokenLifetime  = 24 * time.Hour
	usualTokenLife    = time.Hour // the life of a projected token of Kubernetes
	maxWorkloadIssuer = 500
)

// identifyingClaims say who a workload is. At least one rule is about one of them: the
// others, such as the name of an environment, are often the workload's own choice.
var identifyingClaims = []string{
	"sub", "azp", "client_id",
	"repository", "repository_id", "repository_owner", "repository_owner_id", // GitHub Actions
	"kubernetes.io.namespace", "kubernetes.io.serviceaccount.name", "kubernetes.io.serviceaccount.uid",
}

// validate checks a request. refusedURL is [Config.RefusedURL].
func (n NewWorkloadIdentity) validate(now time.Time, refusedURL func(string) string) error {
	var broken fields
	if validateName(&broken, n.Name); n.Name == "" {
		broken.add("name", "must be 1 to 200 characters")
	}
	if !n.Role.Valid() || n.Role.OfPlatform() {
		broken.add("role", "must be tenant_admin, tenant_signer, tenant_auditor or tenant_verifier")
	}
	n.validateIssuer(&broken, refusedURL)
	if !isRuleText(n.Audience) {
		broken.add("audience", "must be 1 to %d characters, none of them a control character", maxRuleText)
	}
	broken.duration("max_token_lifetime_seconds", n.MaxTokenLifetime, minTokenLifetime, maxTokenLifetime)
	if n.ExpiresAt != nil && (!n.ExpiresAt.After(now) || n.ExpiresAt.After(endOfTime)) {
		broken.add("expires_at", "must be in the future, and before 9999-12-31")
	}
	validateRules(&broken, n.Rules)
	return broken.fieldErrors()
}

// validateIssuer checks the issuer (OpenID Connect Discovery 1.0 section 3) and where
// its keys are fetched. Of an issuer with a JWKS URI nothing is fetched, so it may have a
// private name, as those of clusters have.
func (n NewWorkloadIdentity) validateIssuer(broken *fields, refusedURL func(string) string) {
	u, err := url.Parse(n.Issuer)
	switch {
	case err != nil, u.Hostname() == "", u.User != nil, u.Scheme != "https" && u.Scheme != "http", strings.ContainsAny(n.Issuer, "?#"), strings.ContainsFunc(n.Issuer, isNotPrintable), len(n.Issuer) > maxWorkloadIssuer:
		broken.add("issuer", "must be an https URL of at most %d characters without query and fragment, exactly as the tokens have it in iss", maxWorkloadIssuer)
	case n.JWKSURI != "" && u.Scheme != "https":
		broken.add("issuer", "must begin with https://")
	case n.JWKSURI == "":
		if refused := refusedURL(n.Issuer); refused != "" {
			broken.add("issuer", "%s", refused)
		}
	}
	if n.JWKSURI == "" {
		return
	}
	if refused := refusedURL(n.JWKSURI); refused != "" {
		broken.add("jwks_uri", "%s", refused)
	}
}

func isNotPrintable(r rune) bool { return r <= ' ' || r > '~' }

func validateRules(broken *fields, rules []ClaimRule) {
	if len(rules) == 0 || len(rules) > maxRules {
		broken.add("rules", "must be 1 to %d conditions, all of which a token must meet", maxRules)
	}
	identifies := false
	for i, r := range rules {
		if message := r.refusal(); message != "" {
			broken.add(fmt.Sprintf("rules[%d]", i), "%s", message)
		}
		identifies = identifies || slices.Contains(identifyingClaims, r.Claim)
	}
	if !identifies {
		broken.add("rules", "must have one about who the workload is: %s", strings.Join(identifyingClaims, ", "))
	}
}

// refusal returns the reason to refuse a rule, or "".
func (r ClaimRule) refusal() string {
	set := 0
	for _, is := range []bool{r.Equals != "", r.Prefix != "", len(r.OneOf) > 0} {
		if is {
			set++
		}
	}
	texts := append([]string{r.Claim}, r.OneOf...)
	if r.Equals+r.Prefix != "" {
		texts = append(texts, r.Equals+r.Prefix)
	}
	switch {
	case set != 1:
		return "must have exactly one of equals, prefix and one_of, which is not empty"
	case len(r.OneOf) > maxRuleValues, !allRuleTexts(texts):
		return fmt.Sprintf("must have texts of 1 to %d characters, none of them a control character, and at most %d in one_of", maxRuleText, maxRuleValues)
	case r.Claim == "iss" || r.Claim == "aud":
		return "must not be about iss and aud, which issuer and audience are compared with"
	case r.Prefix != "" && !isWholePrefix(r.Prefix):
		return "must have a prefix that ends at a : or / behind at least two names, as repo:octo-org/ or system:serviceaccount:prod: does: a shorter one would let in strangers"
	}
	return ""
}

// isWholePrefix reports whether a prefix ends behind a whole name, and not the first one:
// repo:octo-org is also how repo:octo-org-2/x begins, and repo: is all of GitHub.
func isWholePrefix(prefix string) bool {
	last := prefix[len(prefix)-1]
	return (last == ':' || last == '/') && len(strings.FieldsFunc(prefix, func(r rune) bool { return r == ':' || r == '/' })) >= 2
}

func allRuleTexts(texts []string) bool {
	return !slices.ContainsFunc(texts, func(s string) bool { return !isRuleText(s) })
}

func isRuleText(s string) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxRuleText && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func (w WorkloadIdentity) row() db.WorkloadIdentity {
	rules, err := json.Marshal(w.Rules)
	if err != nil {
		panic(fmt.Sprintf("tenant: rules: %v", err)) // texts and lists have a JSON form
	}
	return db.WorkloadIdentity{
		TenantID: w.TenantID, ID: w.ID, Name: w.Name, Issuer: w.Issuer, Audience: w.Audience, JWKSURI: db.NullIfZero(w.JWKSURI), Rules: rules,
		Role: string(w.Role), MaxTokenLifetimeSeconds: int32(w.MaxTokenLifetime / time.Second), CreatedAt: w.CreatedAt, ExpiresAt: w.ExpiresAt,
		CreatorType: string(w.CreatedBy.Type), CreatorID: w.CreatedBy.ID, CreatorName: w.CreatedBy.Name,
	}
}

func workloadFromRow(r db.WorkloadIdentity) (WorkloadIdentity, error) {
	w := WorkloadIdentity{
		ID: r.ID, TenantID: r.TenantID, Name: r.Name, Issuer: r.Issuer, Audience: r.Audience, JWKSURI: db.ZeroIfNull(r.JWKSURI),
		Role: Role(r.Role), MaxTokenLifetime: time.Duration(r.MaxTokenLifetimeSeconds) * time.Second, CreatedAt: r.CreatedAt.UTC(), ExpiresAt: db.UTC(r.ExpiresAt),
		LastUsedAt: db.UTC(r.LastUsedAt), CreatedBy: audit.Actor{Type: audit.ActorType(r.CreatorType), ID: r.CreatorID, Name: r.CreatorName},
	}
	if err := json.Unmarshal(r.Rules, &w.Rules); err != nil {
		return w, fmt.Errorf("tenant: rules of workload identity %s: %w", r.ID, err)
	}
	return w, nil
}

// eventDetails returns the identity as details of an audit event: who the tokens are of.
func (w WorkloadIdentity) eventDetails() map[string]any {
	return map[string]any{"id": w.ID, "role": w.Role, "name": w.Name, "issuer": w.Issuer, "audience": w.Audience, "rules": w.Rules}
}
