package keyfile

import (
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
)

// Reasons why a tenant does not take a sound key, worded as [Fault] is.
const (
	AnotherKey = "is another key than the one that the tenant has of this kid"
	PurgedKID  = "has the kid of a key that the tenant purged, and a kid is used once"
)

// SharedKID is what is wrong with the kid of different keys that come together.
const SharedKID = "is also that of another key of the source, and Keyward keeps one of a kid"

// ThereAs returns why a key is skipped that the tenant has in a published state.
func ThereAs(state keys.State) string { return "is there already as " + string(state) }

// revoked is why a JWK is not imported that its issuer revoked (OpenID Federation 1.0
// section 8.7).
const revoked = "is revoked at its issuer"

// ExpiredAt returns why a key is not imported that its issuer had until an instant.
func ExpiredAt(t time.Time) string {
	return "has expired at its issuer: " + t.UTC().Format(time.RFC3339)
}

// GoneAs returns why a key is refused that the tenant had: its tokens do not verify.
func GoneAs(state keys.State) string {
	if state == keys.Purged {
		return PurgedKID
	}
	return "is " + string(state) + " in this tenant, and a kid is used once"
}

// ThereWithout returns why a key is refused that the tenant has, but not for an algorithm
// that the source has it for.
func ThereWithout(alg jose.SignatureAlgorithm) string {
	return "is there already, but not for " + string(alg)
}
