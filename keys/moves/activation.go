package moves

import "github.com/keyward/keyward/keys"

// The ways in which a key becomes active other than [keys.Scheduled].
const (
	byFirstKey   keys.Activation = "first"      // first key of a new policy
	byHand       keys.Activation = "manual"     // manual rotation
	byRevocation keys.Activation = "revocation" // standby that replaces a revoked key
	byFreshKey   keys.Activation = "fresh"      // new key, unknown to verifiers, that replaces a revoked one
	byRevokeAll  keys.Activation = "revoke_all" // as byFreshKey, for every key of the tenant
	byImport     keys.Activation = "import"     // imported as active
)
