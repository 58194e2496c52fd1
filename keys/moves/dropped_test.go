package moves

import (
	"testing"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// Once a change of a tenant is heard of, no process has one of its private
// keys in memory.
func TestParsedKeysAreDroppedOnEveryProcess(t *testing.T) {
	p := newProcess(t)
	other := p.another(t)
	for slug, change := range map[string]func(tenant.Tenant) error{
		"revoked": func(made tenant.Tenant) error {
			_, err := p.store.Revoke(t.Context(), tester, made.ID, p.only(t, made.ID, keys.Active), RevokeRequest{Reason: keys.Compromised})
			return err
		},
		"all-revoked": func(made tenant.Tenant) error {
			_, err := p.store.RevokeAll(t.Context(), tester, made.ID, keys.Compromised, "")
			return err
		},
		"rotated": func(made tenant.Tenant) error {
			_, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{})
			return err
		},
		"suspended": func(made tenant.Tenant) error {
			_, err := p.tenants.Update(t.Context(), tester, made.ID, tenant.Change{Status: tenant.Some(tenant.Suspended)})
			return err
		},
		"deleted": func(made tenant.Tenant) error { return p.store.DeleteTenant(t.Context(), tester, made.ID) },
	} {
		made := p.tenant(t, slug)
		other.await(t, slug)
		for name, each := range map[string]*process{"the one that changed it": p, "another": other} {
			each.sign(t, slug)
			if each.signer.OpenKeys(made.ID) != 1 {
				t.Fatalf("%s: %s has not kept the key that it signed with", slug, name)
			}
		}
		if err := change(made); err != nil {
			t.Fatal(err)
		}
		for name, each := range map[string]*process{"the one that changed it": p, "another": other} {
			each.await(t, slug)
			if n := each.signer.OpenKeys(made.ID); n != 0 {
				t.Errorf("%s: %s still has %d private keys in memory", slug, name, n)
			}
		}
	}
}
