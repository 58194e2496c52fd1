package tenant

import "time"

// Caching holds a tenant's cache lifetimes for verifiers, and the allowed clock
// difference. All are whole seconds.
type Caching struct {
	MaxAge               time.Duration // Cache-Control max-age, RFC 9111 section 5.2.2.1
	StaleWhileRevalidate time.Duration // RFC 5861 section 3
	StaleIfError         time.Duration // RFC 5861 section 4
	ClockSkew            time.Duration // leeway between the platform's clock and a verifier's
}

// DefaultCaching is the caching of a tenant without settings of its own.
var DefaultCaching = Caching{
	MaxAge:               5 * time.Minute,
	StaleWhileRevalidate: time.Minute,
	StaleIfError:         24 * time.Hour,
	ClockSkew:            time.Minute,
}

// Propagation returns the time after which every well-behaved cache has fetched a
// newly published key: max-age plus stale-while-revalidate plus skew.
func (c Caching) Propagation() time.Duration {
	return c.MaxAge + c.StaleWhileRevalidate + c.ClockSkew
}

// Validate checks the bounds of the table tenants. The error is a
// *FieldErrors.
func (c Caching) Validate() error {
	var broken fields
	c.validate(&broken)
	return broken.fieldErrors()
}

func (c Caching) validate(broken *fields) {
	const week, month = 7 * 24 * time.Hour, 30 * 24 * time.Hour
	broken.duration("jwks_max_age_seconds", c.MaxAge, 0, week)
	broken.duration("jwks_stale_while_revalidate_seconds", c.StaleWhileRevalidate, 0, week)
	broken.duration("jwks_stale_if_error_seconds", c.StaleIfError, 0, month)
	broken.duration("clock_skew_seconds", c.ClockSkew, 0, 10*time.Minute)
}

// ValidateFor checks the caching against the tenant's live policies: the
// guarantees 5 and 6 of docs/contract.md, from the tenant's side. The error is
// a *PolicyError.
func (c Caching) ValidateFor(policies []Policy) error {
	var broken fields
	for _, p := range policies {
		if !p.Live() {
			continue
		}
		if p.PublishLead < c.Propagation() {
			broken.add("jwks_max_age_seconds",
				"together with jwks_stale_while_revalidate_seconds and clock_skew_seconds must be at most publish_lead_seconds (%d) of the %s policy, not %d",
				seconds(p.PublishLead), p.Alg, seconds(c.Propagation()))
		}
		if p.GracePeriod < p.MaxTokenTTL+c.ClockSkew {
			broken.add("clock_skew_seconds", "must be at most grace_period_seconds - max_token_ttl_seconds (%d) of the %s policy",
				seconds(p.GracePeriod-p.MaxTokenTTL), p.Alg)
		}
	}
	return broken.policyError()
}

func seconds(d time.Duration) int32 { return int32(d / time.Second) }
