package moves

import (
	"errors"
	"testing"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// Seeded tenants have the past that was asked for, nothing is due, and what
// comes is as for every other tenant: the guards of the database find nothing
// to refuse when the worker goes on from there.
func TestSeededTenantsLiveOn(t *testing.T) {
	p := newProcess(t)
	seed := Seed{Tenants: 7, Keys: 4, Events: 13, Prefix: "seed"}
	var last SeedProgress
	if err := seed.Write(t.Context(), p.store, tester, func(done SeedProgress) { last = done }); err != nil {
		t.Fatal(err)
	}
	if done := p.tick(t); last != (SeedProgress{7, 7 * 13}) || done.Tenants != 0 {
		t.Errorf("progress ended at %+v, %d tenants were due", last, done.Tenants)
	}
	p.clock.Advance(40 * 24 * time.Hour)
	if done := p.tick(t); done.Failed != 0 || done.Rotated < seed.Tenants {
		t.Errorf("after 40 days: %+v", done)
	}
	for i := range seed.Tenants {
		made, err := p.tenants.Get(t.Context(), seed.Slug(i))
		if err != nil {
			t.Fatal(err)
		}
		p.intact(t, made.ID)
		p.only(t, made.ID, keys.Active)
		if n := len(p.in(t, made.ID, keys.Deprecated)); n < 3 {
			t.Errorf("%s: %d keys are deprecated, want the two of its past and one more", made.Slug, n)
		}
		page, err := p.audit.List(t.Context(), made.ID, audit.Filter{Ascending: true, Limit: 13})
		if err != nil || len(page.Events) != 13 || page.Events[12].Action != audit.AuthorizationDenied {
			t.Errorf("%s: history %+v, %v", made.Slug, page, err)
		}
		if _, err := p.signer.SignToken(t.Context(), made.Slug, signing.Order{}); err != nil {
			t.Errorf("%s signs no token: %v", made.Slug, err)
		}
	}
}

func TestSeedsThatAreRefused(t *testing.T) {
	p := newProcess(t)
	for _, bad := range []Seed{{}, {Tenants: 1, Keys: 1, Events: 12}, {Tenants: 1, Keys: 17, Events: 99}, {Tenants: 1, Keys: 4, Events: 11}} {
		if err := bad.Write(t.Context(), p.store, tester, func(SeedProgress) {}); !errors.Is(err, ErrBadSeed) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	twice := Seed{Tenants: 1, Keys: 2, Events: 6, Prefix: "twice"}
	for _, want := range []error{nil, tenant.ErrSlugTaken} {
		if err := twice.Write(t.Context(), p.store, tester, func(SeedProgress) {}); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// A history that is longer than what is in memory at once is whole, and the tenant lives
// on.
func TestLongSeededHistory(t *testing.T) {
	p := newProcess(t)
	seed := Seed{Tenants: 2, Keys: 3, Events: 2*seedStretch + 100, Prefix: "long"}
	reports := 0
	if err := seed.Write(t.Context(), p.store, tester, func(SeedProgress) { reports++ }); err != nil {
		t.Fatal(err)
	}
	if reports < 2*3 {
		t.Errorf("%d reports of progress", reports)
	}
	for i := range seed.Tenants {
		made, err := p.tenants.Get(t.Context(), seed.Slug(i))
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.audit.Verify(t.Context(), made.ID)
		if err != nil || !r.Intact || r.Events != int64(seed.Events) {
			t.Errorf("%s: %+v, %v", made.Slug, r, err)
		}
		if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
			t.Errorf("%s does not rotate: %v", made.Slug, err)
		}
	}
}
