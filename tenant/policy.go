package tenant

import (
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Algorithms lists the algorithms of policies: RFC 7518 section 3.1 without HMAC
// and none, RFC 8037 section 3.1 (EdDSA), RFC 9864 section 2 (Ed25519) and RFC
// 9964 (ML-DSA).
var Algorithms = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, "Ed25519",
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.MLDSA44, jose.MLDSA65, jose.MLDSA87,
}

// Policy holds the settings by which a tenant signs with one algorithm. All
// durations are whole seconds.
type Policy struct {
	Alg              jose.SignatureAlgorithm // one of Algorithms
	Default          bool                    // signs requests that name no algorithm
	RSABits          int                     // 2048, 3072 or 4096; 0 for other key types
	RotationInterval time.Duration           // 0: rotate by hand only
	PublishLead      time.Duration           // a standby is published for this long before the schedule promotes it
	GracePeriod      time.Duration           // a deprecated key stays published for this long
	PurgeAfter       time.Duration           // from leaving the JWKS to losing the public key
	DefaultTokenTTL  time.Duration
	MaxTokenTTL      time.Duration
	MaxPublishedKeys int
	MinAdoption      float64       // the schedule promotes a standby when this share of the verifiers has fetched it; 0: it does not ask
	MaxAdoptionWait  time.Duration // and never waits for longer
	CreatedAt        time.Time
	UpdatedAt        time.Time
	RetiredAt        *time.Time // set: signs no more; its published keys expire in time
}

// DefaultPolicy returns the policy of an algorithm without further settings.
func DefaultPolicy(alg jose.SignatureAlgorithm) Policy {
	p := Policy{
		Alg:              alg,
		RotationInterval: 30 * 24 * time.Hour,
		PublishLead:      24 * time.Hour,
		GracePeriod:      7 * 24 * time.Hour,
		PurgeAfter:       90 * 24 * time.Hour,
		DefaultTokenTTL:  15 * time.Minute,
		MaxTokenTTL:      24 * time.Hour,
		MaxPublishedKeys: 16,
		MaxAdoptionWait:  7 * 24 * time.Hour,
	}
	if isRSA(alg) {
		p.RSABits = 2048
	}
	return p
}

// Live reports whether the policy signs, which a retired one does not.
func (p Policy) Live() bool { return p.RetiredAt == nil }

// Details returns the policy as details of an audit event, with the API's names.
func (p Policy) Details() map[string]any {
	d := map[string]any{
		"alg":                       p.Alg,
		"default":                   p.Default,
		"rotation_interval_seconds": seconds(p.RotationInterval),
		"publish_lead_seconds":      seconds(p.PublishLead),
		"grace_period_seconds":      seconds(p.GracePeriod),
		"purge_after_seconds":       seconds(p.PurgeAfter),
		"default_token_ttl_seconds": seconds(p.DefaultTokenTTL),
		"max_token_ttl_seconds":     seconds(p.MaxTokenTTL),
		"max_published_keys":        p.MaxPublishedKeys,
		"min_adoption":              p.MinAdoption,
		"max_adoption_wait_seconds": seconds(p.MaxAdoptionWait),
	}
	if p.RSABits != 0 {
		d["rsa_bits"] = p.RSABits
	}
	return d
}

func isRSA(alg jose.SignatureAlgorithm) bool {
	return strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS")
}

// maxDuration bounds every duration of a policy: ten years.
const maxDuration = 315360000 * time.Second

// Validate checks the policy by itself and against the values that its tenant tells
// caches: the rules of docs/contract.md, which the database has too. The error
// is a *PolicyError that names every broken rule.
func (p Policy) Validate(c Caching) error {
	var broken fields
	p.validateKeys(&broken)
	broken.duration("rotation_interval_seconds", p.RotationInterval, 0, maxDuration)
	broken.duration("publish_lead_seconds", p.PublishLead, time.Second, maxDuration)
	broken.duration("grace_period_seconds", p.GracePeriod, time.Second, maxDuration)
	broken.duration("purge_after_seconds", p.PurgeAfter, time.Second, maxDuration)
	broken.duration("default_token_ttl_seconds", p.DefaultTokenTTL, time.Second, maxDuration)
	broken.duration("max_token_ttl_seconds", p.MaxTokenTTL, time.Second, maxDuration)
	broken.duration("max_adoption_wait_seconds", p.MaxAdoptionWait, 0, maxDuration)
	if !(p.MinAdoption >= 0 && p.MinAdoption <= 1) { // NaN neither
		broken.add("min_adoption", "must be from 0 to 1")
	}
	p.validateWindows(&broken, c)
	return broken.policyError()
}

func (p Policy) validateKeys(broken *fields) {
	if !slices.Contains(Algorithms, p.Alg) {
		broken.add("alg", "must be one of %s", algorithmNames())
		return
	}
	switch {
	case !isRSA(p.Alg) && p.RSABits != 0:
		broken.add("rsa_bits", "must be absent: %s keys are not RSA keys", p.Alg)
	case isRSA(p.Alg) && !slices.Contains([]int{2048, 3072, 4096}, p.RSABits):
		broken.add("rsa_bits", "must be 2048, 3072 or 4096")
	}
	if p.MaxPublishedKeys < 3 || p.MaxPublishedKeys > 64 {
		broken.add("max_published_keys", "must be from 3 to 64")
	}
}

// validateWindows checks the inequalities between durations.
func (p Policy) validateWindows(broken *fields, c Caching) {
	if p.RotationInterval > 0 && p.PublishLead > p.RotationInterval {
		broken.add("publish_lead_seconds", "must be at most rotation_interval_seconds (%d)", seconds(p.RotationInterval))
	}
	if p.DefaultTokenTTL > p.MaxTokenTTL {
		broken.add("default_token_ttl_seconds", "must be at most max_token_ttl_seconds (%d)", seconds(p.MaxTokenTTL))
	}
	if least := c.Propagation(); p.PublishLead < least {
		broken.add("publish_lead_seconds",
			"must be at least jwks_max_age_seconds + jwks_stale_while_revalidate_seconds + clock_skew_seconds (%d)", seconds(least))
	}
	if least := p.MaxTokenTTL + c.ClockSkew; p.GracePeriod < least {
		broken.add("grace_period_seconds", "must be at least max_token_ttl_seconds + clock_skew_seconds (%d)", seconds(least))
	}
}

func algorithmNames() string {
	names := make([]string, len(Algorithms))
	for i, alg := range Algorithms {
		names[i] = string(alg)
	}
	return strings.Join(names, ", ")
}
