package tenant_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/tenant"
)

func TestResolve(t *testing.T) {
	w := newWorld(t)
	id, gone := w.tenant(t, "acme"), w.tenant(t, "gone")
	w.delete(t, gone)
	for _, ref := range []string{"acme", id.String(), "acme"} {
		if got, err := w.Resolve(t.Context(), ref); err != nil || got != id {
			t.Errorf("%q: %s, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", "nobody", "gone", gone.String(), uuid.NewString(), uuid.Nil.String(), "ACME", "a\x00", "../acme", "{" + id.String() + "}"} {
		if _, err := w.Resolve(t.Context(), ref); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("%q: %v", ref, err)
		}
		if _, err := w.Get(t.Context(), ref); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if got, err := w.GetAny(t.Context(), gone); err != nil || got.Status != tenant.Deleted || got.DeletedAt == nil {
		t.Errorf("a deleted tenant for the platform: %+v, %v", got, err)
	}
}

func TestResolveHearsOfChanges(t *testing.T) {
	w := newWorld(t)
	old := w.tenant(t, "acme")
	if _, err := w.Resolve(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	w.delete(t, old)
	w.Changed(old)
	if _, err := w.Resolve(t.Context(), "acme"); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("a deleted tenant's slug: %v", err)
	}
	if id := w.tenant(t, "acme"); true {
		if got, err := w.Resolve(t.Context(), "acme"); err != nil || got != id {
			t.Errorf("the slug's next tenant: %s, %v", got, err)
		}
	}
}

func TestList(t *testing.T) {
	w := newWorld(t)
	var want []uuid.UUID
	for _, slug := range []string{"acme", "acme-test", "bolt", "cyan", "gone"} {
		want = append(want, w.tenant(t, slug))
	}
	slices.Reverse(want)
	w.delete(t, want[0])
	if _, err := w.Update(t.Context(), somebody, want[2], tenant.Change{Name: tenant.Some("100% ACME_"), Status: tenant.Some(tenant.Suspended)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		f    tenant.ListFilter
		want []uuid.UUID
	}{
		{"live", tenant.ListFilter{Limit: 3}, want[1:]},
		{"deleted", tenant.ListFilter{Status: tenant.Deleted}, want[:1]},
		{"suspended", tenant.ListFilter{Status: tenant.Suspended}, want[2:3]},
		{"no such status", tenant.ListFilter{Status: "x\x00"}, nil},
		{"slug or name", tenant.ListFilter{Q: "AcMe", Limit: 1}, want[2:]},
		{"no pattern", tenant.ListFilter{Q: "%"}, want[2:3]},
		{"nothing", tenant.ListFilter{Q: "a\x00"}, nil},
	} {
		var got []uuid.UUID
		for more := true; more; more = c.f.Cursor != "" {
			page, next, err := w.List(t.Context(), c.f)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page {
				got = append(got, item.ID)
			}
			c.f.Cursor = next
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for _, cursor := range []string{"x", "!", "AAAA", "_____________________________________________"} {
		if _, _, err := w.List(t.Context(), tenant.ListFilter{Cursor: cursor}); !errors.Is(err, tenant.ErrBadCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

func TestPolicies(t *testing.T) {
	w := newWorld(t)
	rs := policy(jose.RS256, func(p *tenant.Policy) { p.RSABits, p.Default = 3072, true })
	id := w.tenant(t, "acme", tenant.DefaultPolicy(jose.ES256), rs)
	got, err := w.Policies(t.Context(), id)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	rs.CreatedAt, rs.UpdatedAt = noon, noon
	if got[0] != rs || got[1].Alg != jose.ES256 || got[1].RSABits != 0 {
		t.Errorf("%+v", got)
	}
}
