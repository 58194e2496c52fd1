package keys

import (
	"context"
	"fmt"
	"strings"

	"github.com/keyward/keyward/tenant"
)

// HistoryType is the typ of a tenant's signed key history (OpenID Federation
// 1.0 section 8.7).
const HistoryType = "jwk-set+jwt"

// ReservedTyp says whether a typ is one that only Keyward itself may sign under:
// those of checkpoints, certificates and deliveries, which begin with
// "keyward-", and that of key histories. Who may have anything signed by the
// platform's tenant could forge them otherwise. Compared as media types are
// (RFC 7515 section 4.1.9).
func ReservedTyp(typ string) bool {
	typ = mediaType(typ)
	return strings.HasPrefix(typ, "application/keyward-") || typ == "application/"+HistoryType
}

// notReserved refuses a caller's typ that is Keyward's own. Its error is a
// *[ClaimError].
func notReserved(typ string) error {
	if ReservedTyp(typ) {
		return invalid("typ", "must be another one: those that begin with keyward- and "+HistoryType+" are for what Keyward itself attests")
	}
	return nil
}

// Attest signs with the platform's active key what the platform itself says,
// under a reserved typ that no caller of SignToken and SignPayload can use; who
// verifies it demands that typ. Errors: those of SignPayload.
func (s *Signer) Attest(ctx context.Context, o PayloadOrder) (signed SignedPayload, err error) {
	if !ReservedTyp(o.Typ) {
		return SignedPayload{}, fmt.Errorf("keys: attest: typ %q is not reserved", o.Typ)
	}
	err = s.atDesk(ctx, tenant.PlatformSlug, func(d desk) (err error) {
		signed, err = s.signPayload(ctx, d, o)
		return err
	})
	return signed, err
}
