package keys

import (
	"testing"

	"github.com/google/uuid"
	"github.com/keyward/keyward/tenant"
)

// parsed counts the private keys of a tenant that a process has in memory.
func (p *process) parsed(id uuid.UUID) (n int) {
	for name := range p.signer.privates.Keys() {
		if name.tenantID == id {
			n++
		}
	}
	return n
}

// Once a change of a tenant is heard of, no process has one of its private
// keys in memory.
func TestParsedKeysAreDroppedOnEveryProcess(t *testing.T) {
	p := newProcess(t)
	other := p.another(t)
	for slug, change := range map[string]func(tenant.Tenant) error{
		"revoked": func(made tenant.Tenant) error {
			_, err := p.store.Revoke(t.Context(), tester, made.ID, p.only(t, made.ID, Active), RevokeRequest{Reason: Compromised})
			return err
		},
		"all-revoked": func(made tenant.Tenant) error {
			_, err := p.store.RevokeAll(t.Context(), tester, made.ID, Compromised, "")
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
			if each.parsed(made.ID) != 1 {
				t.Fatalf("%s: %s has not kept the key that it signed with", slug, name)
			}
		}
		if err := change(made); err != nil {
			t.Fatal(err)
		}
		for name, each := range map[string]*process{"the one that changed it": p, "another": other} {
			each.await(t, slug)
			if n := each.parsed(made.ID); n != 0 {
				t.Errorf("%s: %s still has %d private keys in memory", slug, name, n)
			}
		}
	}
}
