package httpapi

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/tenant"
)

// fetches has a verifier fetch acme's JWK Set, and returns its entity tag.
func (w *world) fetches(agent, validator string) string {
	w.t.Helper()
	headers, status := []string{"User-Agent", agent}, 200
	if validator != "" {
		headers = append(headers, "If-None-Match", validator)
	}
	a := w.do("GET", "/t/acme/.well-known/jwks.json", "", "", headers...)
	if validator != "" && validator == a.Header.Get("ETag") {
		status = 304
	}
	a.ok(status)
	return a.Header.Get("ETag")
}

func (w *world) adoptionOf(kid string) (out KeyAdoption) {
	w.t.Helper()
	if err := w.adoption.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.do("GET", "/v1/tenants/acme/keys/"+kid+"/adoption", w.root, "").ok(200, &out)
	return out
}

// Verifiers are counted by what they were served: those that have not come since a key
// was published, and those that go on asking with an older validator, are stragglers.
func TestAdoption(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	first := w.keys("acme", KeyStateStandby)[0]
	if a := w.adoptionOf(first.KID); a.Fetchers != 0 || a.Adopted != 0 || a.Share != 0 || a.Stragglers == nil || a.KID != first.KID || !a.PublishedAt.Equal(first.PublishedAt) {
		t.Errorf("%+v", a)
	}
	tag := ""
	for _, agent := range []string{"quick", "slow", "stubborn", "quick"} {
		tag = w.fetches(agent, "")
	}
	if a := w.adoptionOf(first.KID); a.Fetchers != 3 || a.Adopted != 3 || a.Share != 1 {
		t.Errorf("%+v", a)
	}
	w.clock.pass(time.Minute)
	w.do("POST", "/v1/tenants/acme/keys/rotate", w.root, "").ok(200)
	next := w.keys("acme", KeyStateStandby)[0]
	if a := w.adoptionOf(next.KID); a.Fetchers != 3 || a.Adopted != 0 || len(a.Stragglers) != 3 {
		t.Errorf("%+v", a)
	}
	w.clock.pass(time.Minute)
	w.do("HEAD", "/t/acme/.well-known/jwks.json", "", "", "User-Agent", "slow").ok(200) // transfers no set
	w.fetches("quick", w.fetches("quick", tag))
	w.fetches("stubborn", tag)
	w.fetches("stubborn", tag)
	a := w.adoptionOf(next.KID)
	if a.Fetchers != 3 || a.Adopted != 1 || a.Share < 0.33 || a.Share > 0.34 || len(a.Stragglers) != 2 {
		t.Errorf("%+v", a)
	}
	if late, early := a.Stragglers[0].LastSeen, a.Stragglers[1].LastSeen; late.Sub(early) < time.Minute {
		t.Errorf("%+v: the stubborn one was seen last", a.Stragglers)
	}
	if a := w.adoptionOf(first.KID); a.Adopted != 2 {
		t.Errorf("the key before: %+v", a)
	}
	w.clock.pass(3*24*time.Hour + time.Minute)
	if a := w.adoptionOf(next.KID); a.Fetchers != 0 {
		t.Errorf("three days later: %+v", a)
	}
}

// A verifier that two processes serve, today and tomorrow, is one.
func TestAdoptionAcrossProcessesAndDays(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	standby := w.keys("acme", KeyStateStandby)[0]
	other, _ := w.replica(t)
	for range 3 {
		for _, each := range []*world{w, other} {
			each.fetches("one", "")
			each.fetches("two", "")
			if err := each.adoption.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if a := w.adoptionOf(standby.KID); a.Fetchers != 2 || a.Adopted != 2 {
			t.Errorf("%+v", a)
		}
		w.clock.pass(24 * time.Hour)
	}
}

// Who may see it, and of which keys.
func TestAdoptionIsForAuditors(t *testing.T) {
	w := newWorld(t)
	acme, rival := w.tenant("acme"), w.tenant("rival")
	kid := w.keys("acme", KeyStateStandby)[0].KID
	path := "/v1/tenants/acme/keys/" + kid + "/adoption"
	of := func(role tenant.Role, id uuid.UUID) string { return w.key(role, &id) }
	w.do("GET", path, of(tenant.TenantAuditor, acme.ID), "").ok(200)
	w.do("GET", path, of(tenant.TenantAdmin, acme.ID), "").ok(200)
	w.do("GET", path, of(tenant.TenantSigner, acme.ID), "").problem(ProblemCodeForbidden)
	w.do("GET", path, of(tenant.TenantAdmin, rival.ID), "").problem(ProblemCodeTenantNotFound)
	w.do("GET", path, "", "").problem(ProblemCodeUnauthenticated)
	w.do("GET", "/v1/tenants/rival/keys/"+kid+"/adoption", of(tenant.TenantAdmin, rival.ID), "").problem(ProblemCodeKeyNotFound)
	w.do("GET", "/v1/tenants/acme/keys/"+strings.Repeat("k", 257)+"/adoption", w.root, "").problem(ProblemCodeKeyNotFound)
	w.do("GET", path+"?since=1", w.root, "").problem(ProblemCodeInvalidRequest)
}
