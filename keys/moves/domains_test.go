package moves

import (
	"errors"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// owner is the slug of the tenant that has a domain, empty: nobody.
func (p *process) owner(t testing.TB, domain string) string {
	t.Helper()
	snap, stale, err := p.snapshots.OfDomain(t.Context(), domain)
	if errors.Is(err, tenant.ErrNotFound) {
		return ""
	}
	if err != nil || stale != 0 {
		t.Fatalf("%s: stale for %s, %v", domain, stale, err)
	}
	return snap.Slug
}

func (p *process) domain(t testing.TB, made tenant.Tenant, domain string) {
	t.Helper()
	if _, err := p.tenants.Update(t.Context(), tester, made.ID, tenant.Change{CustomDomain: tenant.Some(domain)}); err != nil {
		t.Fatal(err)
	}
}

// What two processes remember of a domain, that it is nobody's included, ends
// with the notification of the commit that gives it to somebody else.
func TestADomainChangesHands(t *testing.T) {
	const domain = "id.acme.example"
	a := newProcess(t)
	b := a.another(t)
	acme, other := a.tenant(t, "acme"), a.tenant(t, "other")
	want := func(what, slug string) {
		t.Helper()
		for name, p := range map[string]*process{"a": a, "b": b} {
			if got := p.owner(t, domain); got != slug {
				t.Errorf("%s: %s says %q", what, name, got)
			}
		}
	}
	heard := func() { a.await(t, tenant.DomainRef(domain)); b.await(t, tenant.DomainRef(domain)) }
	want("at first", "")
	a.domain(t, acme, domain)
	heard()
	want("set", "acme")
	b.domain(t, acme, "elsewhere.example")
	heard()
	want("given up", "")
	a.domain(t, other, domain)
	heard()
	want("set by another", "other")
	if err := b.store.DeleteTenant(t.Context(), tester, other.ID); err != nil {
		t.Fatal(err)
	}
	heard()
	want("deleted", "")
	if _, err := a.store.CreateTenant(t.Context(), tester, tenant.Spec{Slug: "third", CustomDomain: domain, Caching: tenant.DefaultCaching}); err != nil {
		t.Fatal(err)
	}
	heard()
	want("created with it", "third")
}

// A change of the tenant that keeps its domain is seen under the domain too.
func TestKeysRotateUnderADomain(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	p.domain(t, acme, "id.acme.example")
	p.await(t, tenant.DomainRef("id.acme.example"))
	before, _, err := p.snapshots.OfDomain(t.Context(), "id.acme.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.Rotate(t.Context(), tester, acme.ID, RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	p.await(t, "acme")
	after, _, err := p.snapshots.OfDomain(t.Context(), "id.acme.example")
	if err != nil || after.ETag() == before.ETag() {
		t.Errorf("the old keys, %v", err)
	}
}
