package moves

import (
	"time"

	"github.com/keyward/keyward/internal/durations"
	"github.com/keyward/keyward/tenant"
)

// Mode selects the key that replaces a revoked active key.
type Mode string

// The modes of a revocation.
const (
	StandbyTakesOver Mode = "standby" // already published: no verification fails, and no verifier has a reason to refetch
	FreshTakesOver   Mode = "fresh"   // new to all verifiers: its first token makes well-behaved ones refetch
)

// Trust is how long one class of verifiers may still accept a revoked key.
type Trust struct {
	Class    string
	Examples []string
	// Until is when the verifier has dropped the key at the latest, if it fetches
	// from Keyward itself. Nil: there is no bound, only a restart or an unknown kid
	// makes it drop the key.
	Until *time.Time
	// EndsAtFreshToken is set if the verifier refetches, and so drops the key, at
	// the first token signed with the new key. That depends on traffic, so it is no
	// bound.
	EndsAtFreshToken bool
	Why              string
}

// verifierClasses lists how relying parties cache a JWKS by default. age 0 means without
// limit; refetches is set if an unknown kid makes them fetch the whole set again.
var verifierClasses = []struct {
	class     string
	examples  []string
	age       time.Duration
	refetches bool
	why       string
	orMaxAge  bool // kept for max-age where that is longer
}{
	{class: "whole set, 5 minutes", examples: []string{"PyJWKClient", "Apigee VerifyJWT", "Spring Security (Nimbus)"}, age: 5 * time.Minute, refetches: true, why: "The set is fetched anew when it is 5 minutes old."},
	{class: "whole set, 10 minutes", examples: []string{"panva jose createRemoteJWKSet"}, age: 10 * time.Minute, refetches: true, why: "The set is fetched anew when it is 10 minutes old; an unknown kid does so earlier, at most every 30 seconds."},
	{class: "whole set and verified tokens, 5 minutes each", examples: []string{"Apache mod_oauth2"}, age: 10 * time.Minute, why: "The set is fetched anew when it is 5 minutes old; a token that was verified before is accepted without a look at the set for 5 minutes more."},
	{class: "single key, 10 minutes", examples: []string{"node jwks-rsa"}, age: 10 * time.Minute, why: "Each kid is cached for itself; fetching another one drops nothing."},
	{class: "whole set, 15 minutes", examples: []string{"lestrrat jwx jwk.Cache"}, age: 15 * time.Minute, why: "The set is fetched anew after 15 minutes, or max-age if that is longer; an unknown kid changes nothing.", orMaxAge: true},
	{class: "whole set, 20 minutes", examples: []string{"Istio"}, age: 20 * time.Minute, why: "The set is fetched anew every 20 minutes, an unknown kid changes nothing: tokens of a fresh key fail until then."},
	{class: "whole set, 1 hour", examples: []string{"MicahParks keyfunc", "AWS API Gateway"}, age: time.Hour, refetches: true, why: "The set is fetched anew every hour; an unknown kid does so earlier, with keyfunc at most every 5 minutes."},
	{class: "single key, 10 hours", examples: []string{"jwks-rsa-java"}, age: 10 * time.Hour, why: "Each kid is cached for itself; fetching another one drops nothing."},
	{class: "whole set, no age limit", examples: []string{"coreos go-oidc RemoteKeySet"}, refetches: true, why: "Only an unknown kid or a restart makes it fetch again."},
	{class: "whole set, no age limit, kept for max-age at least", examples: []string{"Kubernetes API server"}, why: "Only an unknown kid that comes after max-age, or a restart, makes it fetch again: tokens of a fresh key fail until then."},
	{class: "single key, no age limit", examples: []string{"PyJWKClient with cache_keys"}, why: "A cached kid stays until the process restarts or other kids crowd it out."},
}

// TrustedUntil returns for each class of verifiers how long it may still accept a key
// that was revoked at revokedAt. The mode matters only if the key was active: otherwise
// no new key begins to sign, so verifiers meet no unknown kid.
func TrustedUntil(revokedAt time.Time, c tenant.Caching, mode Mode, wasActive bool) []Trust {
	fresh := mode == FreshTakesOver && wasActive
	trust := []Trust{trustByCacheControl(revokedAt, c)}
	for _, v := range verifierClasses {
		t := Trust{Class: v.class, Examples: v.examples, EndsAtFreshToken: fresh && v.refetches, Why: v.why}
		if age := v.age; age > 0 {
			if v.orMaxAge {
				age = max(age, c.MaxAge)
			}
			until := revokedAt.Add(age)
			t.Until = &until
		}
		if t.EndsAtFreshToken {
			t.Why += " The first token of the fresh key is such an unknown kid."
		}
		trust = append(trust, t)
	}
	return trust
}

// trustByCacheControl returns the class of verifiers that follow RFC 9111 and RFC 5861.
// It refetches by age alone.
func trustByCacheControl(revokedAt time.Time, c tenant.Caching) Trust {
	until := revokedAt.Add(c.MaxAge + c.StaleWhileRevalidate)
	why := "The answer may be used for max-age and stale-while-revalidate; a shared cache in front of Keyward adds as much to the classes below."
	if c.StaleIfError > 0 {
		why += " Only while Keyward cannot be reached, stale-if-error allows " + durations.Words(c.StaleIfError) + " more."
	}
	return Trust{
		Class:    "follows Cache-Control",
		Examples: []string{"CDNs and HTTP caches", "auth0 go-jwt-middleware"},
		Until:    &until,
		Why:      why,
	}
}
