package keys

import (
	"time"

	"github.com/keyward/keyward/tenant"
)

// Mode says which key signs after the active one was revoked.
type Mode string

// The modes of a revocation.
const (
	StandbyTakesOver Mode = "standby" // published before: no verifier fails, and none has a reason to refetch
	FreshTakesOver   Mode = "fresh"   // seen by no verifier: its first token makes well-behaved ones refetch
)

// Trust is how long one class of verifiers may still accept a revoked key.
type Trust struct {
	Class    string
	Examples []string
	// Until is when the verifier has dropped the key at the latest, counted for
	// one that fetches from Keyward itself. Nil: there is no such time, only a
	// restart or an unknown kid makes it forget.
	Until *time.Time
	// EndsAtFreshToken says that the verifier refetches, and so drops the key,
	// as soon as it meets the first token of the fresh key. Traffic decides
	// when that is, so it is no bound.
	EndsAtFreshToken bool
	Why              string
}

// verifiers is what is known of how relying parties cache a JWKS by default.
// age 0 means without limit; refetches says that an unknown kid makes them
// fetch the whole set anew.
var verifiers = []struct {
	class     string
	examples  []string
	age       time.Duration
	refetches bool
	why       string
}{
	{"whole set, 5 minutes", []string{"PyJWKClient", "Apigee VerifyJWT", "Spring Security (Nimbus)"}, 5 * time.Minute, true, "The set is fetched anew when it is 5 minutes old."},
	{"whole set, 10 minutes", []string{"panva jose createRemoteJWKSet"}, 10 * time.Minute, true, "The set is fetched anew when it is 10 minutes old; an unknown kid does so earlier, at most every 30 seconds."},
	{"single key, 10 minutes", []string{"node jwks-rsa"}, 10 * time.Minute, false, "Each kid is cached for itself; fetching another one drops nothing."},
	{"whole set, 20 minutes", []string{"Istio"}, 20 * time.Minute, false, "The set is fetched anew every 20 minutes, an unknown kid changes nothing: tokens of a fresh key fail until then."},
	{"whole set, 1 hour", []string{"MicahParks keyfunc", "AWS API Gateway"}, time.Hour, true, "The set is fetched anew every hour; an unknown kid does so earlier, with keyfunc at most every 5 minutes."},
	{"single key, 10 hours", []string{"jwks-rsa-java"}, 10 * time.Hour, false, "Each kid is cached for itself; fetching another one drops nothing."},
	{"whole set, no age limit", []string{"coreos go-oidc RemoteKeySet"}, 0, true, "Only an unknown kid or a restart makes it fetch again."},
	{"single key, no age limit", []string{"PyJWKClient with cache_keys"}, 0, false, "A cached kid stays until the process restarts or other kids crowd it out."},
}

// TrustedUntil says, class by class, how long verifiers may go on accepting a
// key that was revoked at revokedAt. The mode matters only where the key was
// active: otherwise no other key begins to sign, so none is met as unknown.
func TrustedUntil(revokedAt time.Time, c tenant.Caching, mode Mode, wasActive bool) []Trust {
	fresh := mode == FreshTakesOver && wasActive
	trust := []Trust{followsHTTP(revokedAt, c)}
	for _, v := range verifiers {
		t := Trust{Class: v.class, Examples: v.examples, EndsAtFreshToken: fresh && v.refetches, Why: v.why}
		if v.age > 0 {
			until := revokedAt.Add(v.age)
			t.Until = &until
		}
		if t.EndsAtFreshToken {
			t.Why += " The first token of the fresh key is such an unknown kid."
		}
		trust = append(trust, t)
	}
	return trust
}

// followsHTTP is the class that keeps to RFC 9111 and RFC 5861. It refetches
// by age alone.
func followsHTTP(revokedAt time.Time, c tenant.Caching) Trust {
	until := revokedAt.Add(c.MaxAge + c.StaleWhileRevalidate)
	why := "The answer may be used for max-age and stale-while-revalidate; a shared cache in front of Keyward adds as much to the classes below."
	if c.StaleIfError > 0 {
		why += " Only while Keyward cannot be reached, stale-if-error allows " + c.StaleIfError.String() + " more."
	}
	return Trust{
		Class:    "follows Cache-Control",
		Examples: []string{"CDNs and HTTP caches", "auth0 go-jwt-middleware"},
		Until:    &until,
		Why:      why,
	}
}
