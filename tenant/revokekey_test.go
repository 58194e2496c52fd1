package tenant_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// A credential of the platform makes some of the platform's own tenant, whose events are in
// the same chain as its own. A revocation takes them along in one step of that chain, in
// whatever order the tenants come and whether or not the tenant asks for a second person.
func TestChildrenInThePlatformsTenant(t *testing.T) {
	w := newWorld(t)
	before := w.tenant(t, "before") // ids are sorted by time
	platform := w.tenant(t, tenant.PlatformSlug)
	after := w.tenant(t, "after")
	maker, _ := w.key(t, nil, tenant.PlatformAdmin)
	want := []uuid.UUID{maker.ID}
	make := func(id *uuid.UUID, role tenant.Role, creator uuid.UUID) uuid.UUID {
		by := audit.By{Actor: audit.Actor{Type: audit.ActorAPIKey, ID: creator.String()}}
		k, _, err := w.CreateAPIKey(t.Context(), by, tenant.NewAPIKey{TenantID: id, Role: role})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, k.ID)
		return k.ID
	}
	deputy := make(nil, tenant.PlatformAdmin, maker.ID)
	for _, id := range []uuid.UUID{before, platform, after} {
		make(&id, tenant.TenantAuditor, maker.ID)
		make(&id, tenant.TenantSigner, deputy)
	}
	done, err := w.RevokeAPIKey(t.Context(), somebody, nil, maker.ID, true)
	if err != nil || done.Left != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	sorted := func(ids []uuid.UUID) []uuid.UUID {
		return slices.SortedFunc(slices.Values(ids), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	}
	if !slices.Equal(sorted(done.IDs), sorted(want)) || done.IDs[0] != maker.ID {
		t.Errorf("revoked %v, want %v", done.IDs, want)
	}
	for id, n := range map[uuid.UUID]int{before: 2, platform: 4, after: 2} {
		revoked := 0
		for _, e := range w.events(t, id) {
			if e.Action == audit.APIKeyRevoked {
				revoked++
			}
		}
		if left := w.ids(t, &id); len(left) != 0 || revoked != n {
			t.Errorf("%s: %d events, want %d; left %v", id, revoked, n, left)
		}
	}
}
