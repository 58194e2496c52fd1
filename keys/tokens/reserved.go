package tokens

import "strings"

// HistoryType is the typ of a tenant's signed key history (OpenID Federation
// 1.0 section 8.7).
const HistoryType = "jwk-set+jwt"

// ReservedType says whether a typ is one that only Keyward itself may sign under:
// those of checkpoints, certificates and deliveries, which begin with
// "keyward-", and that of key histories. Who may have anything signed by the
// platform's tenant could forge them otherwise. Compared as media types are
// (RFC 7515 section 4.1.9).
func ReservedType(typ string) bool {
	typ = mediaType(typ)
	return strings.HasPrefix(typ, "application/keyward-") || typ == "application/"+HistoryType
}

// CheckType refuses a caller's typ that is Keyward's own. Its error is a
// *[ClaimError].
func CheckType(typ string) error {
	if ReservedType(typ) {
		return Invalid("typ", "must be another one: those that begin with keyward- and "+HistoryType+" are for what Keyward itself attests")
	}
	return nil
}
