package signing

import (
	"context"
	"fmt"

	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// Attest signs with the platform's active key what the platform itself says,
// under a reserved typ that no caller of SignToken and SignPayload can use; who
// verifies it demands that typ. Errors: those of SignPayload.
func (s *Signer) Attest(ctx context.Context, o PayloadOrder) (signed SignedPayload, err error) {
	if !tokens.ReservedType(o.Typ) {
		return SignedPayload{}, fmt.Errorf("keys: attest: typ %q is not reserved", o.Typ)
	}
	err = s.atDesk(ctx, tenant.PlatformSlug, func(d desk) (err error) {
		signed, err = s.signPayload(ctx, d, o)
		return err
	})
	return signed, err
}
