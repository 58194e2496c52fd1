package moves

import (
	"encoding/json"
	"testing"

	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// A tenant's metadata reaches every process's snapshots with the notification
// of the commit that changes it, under each of the tenant's names.
func TestMetadataReachesSnapshots(t *testing.T) {
	const domain = "id.acme.example"
	a := newProcess(t)
	b := a.another(t)
	acme := a.tenant(t, "acme")
	a.domain(t, acme, domain)
	a.await(t, tenant.DomainRef(domain))
	b.await(t, tenant.DomainRef(domain))
	said := func(p *process, ref string) (string, *snapshot.Snapshot) {
		t.Helper()
		snap, stale, err := p.snapshots.Get(t.Context(), ref)
		if ref == domain {
			snap, stale, err = p.snapshots.OfDomain(t.Context(), ref)
		}
		if err != nil || stale != 0 {
			t.Fatalf("%s: stale for %s, %v", ref, stale, err)
		}
		return string(snap.Metadata), snap
	}
	for _, want := range []string{`{"token_endpoint":"https://a.example"}`, `{"token_endpoint":"https://b.example"}`, ""} {
		change := tenant.Change{Metadata: tenant.Some(json.RawMessage(want))}
		if _, err := a.tenants.Update(t.Context(), tester, acme.ID, change); err != nil {
			t.Fatal(err)
		}
		for name, p := range map[string]*process{"a": a, "b": b} {
			p.await(t, "acme")
			for _, ref := range []string{"acme", acme.ID.String(), domain} {
				if got, _ := said(p, ref); got != want {
					t.Errorf("%s: %s says %s, want %s", name, ref, got, want)
				}
			}
		}
	}
	_, light := said(a, "acme")
	change := tenant.Change{Metadata: tenant.Some(json.RawMessage(`{"x":"0123456789"}`))}
	if _, err := a.tenants.Update(t.Context(), tester, acme.ID, change); err != nil {
		t.Fatal(err)
	}
	a.await(t, "acme")
	if _, heavy := said(a, "acme"); heavy.Weight() <= light.Weight() {
		t.Error("what it costs in memory is not counted")
	}
}
