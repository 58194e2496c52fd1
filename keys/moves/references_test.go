package moves

import (
	"strings"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// A process serves the key that it signs with under every reference to the tenant, although
// it has not heard of the change yet that it has read by one of them.
func TestReferencesToATenantAgree(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	const domain = "keys.acme.example"
	if _, err := p.tenants.Update(t.Context(), tester, made.ID, tenant.Change{CustomDomain: tenant.Some(domain)}); err != nil {
		t.Fatal(err)
	}
	p.await(t, "acme")
	id := made.ID.String()
	for name, c := range map[string]struct{ known, signs string }{
		"read by id":   {"acme", id},
		"read by slug": {id, "acme"},
	} {
		p.snapshots.InvalidateAll()
		if _, _, err := p.snapshots.Get(t.Context(), c.known); err != nil {
			t.Fatal(err)
		}
		p.cut.Store(true)
		if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
			t.Fatal(err)
		}
		token := p.sign(t, c.signs)
		for _, ref := range []string{"acme", id} {
			if snap, stale, err := p.snapshots.Get(t.Context(), ref); err != nil || stale != 0 || !strings.HasPrefix(string(snap.JWKS), `{"keys":[{`) || !strings.Contains(string(snap.JWKS), token.KID) || snap.Policies()[0].ActiveKID != token.KID {
				t.Errorf("%s: the set of %s does not begin with the key that signs (stale for %v, %v)", name, ref, stale, err)
			}
		}
		if snap, _, err := p.snapshots.OfDomain(t.Context(), domain); err != nil || snap.Policies()[0].ActiveKID != token.KID {
			t.Errorf("%s: the set of the domain does not begin with the key that signs (%v)", name, err)
		}
		p.cut.Store(false)
	}
}
