package console

import (
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/tenant"
)

// Trust is how long one class of verifiers may still accept a revoked key.
type Trust struct {
	Class            string
	Examples         []string
	Until            *time.Time // nil: until a restart or an unknown kid
	EndsAtFreshToken bool       // earlier if it meets a token of the fresh key
	Why              string
}

// Past reports whether that time is over.
func (t Trust) Past(now time.Time) bool { return t.Until != nil && t.Until.Before(now) }

// trusts reads the API's answer.
func trusts(all []client.VerifierTrust) []Trust {
	out := make([]Trust, len(all))
	for i, t := range all {
		out[i] = Trust{Class: t.Class, Examples: t.Examples, Why: t.Why, EndsAtFreshToken: t.EndsAtFreshToken != nil && *t.EndsAtFreshToken}
		if until, err := t.Until.Get(); err == nil {
			out[i].Until = &until
		}
	}
	return out
}

// trustOf is how long verifiers may still trust a key that was revoked, counted
// from when it was; nil for other keys.
func (v *visit) trustOf(k client.Key) []Trust {
	return v.trustAfter(k, k.ActivatedAt != nil && k.DeprecatedAt == nil, false)
}

// trustAfter is trustOf where it is known whether an active key was revoked, and whether a
// fresh one took over.
func (v *visit) trustAfter(k client.Key, wasActive, fresh bool) []Trust {
	if k.RevokedAt == nil || v.c.cfg.TrustedUntil == nil {
		return nil
	}
	t := v.Tenant
	return v.c.cfg.TrustedUntil(*k.RevokedAt, tenant.Caching{
		MaxAge: seconds(t.JWKSMaxAgeSeconds), StaleWhileRevalidate: seconds(t.JWKSStaleWhileRevalidateSeconds),
		StaleIfError: seconds(t.JWKSStaleIfErrorSeconds), ClockSkew: seconds(t.ClockSkewSeconds),
	}, wasActive, fresh)
}
