package tenant_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

func (w world) update(t *testing.T, id uuid.UUID, c tenant.Change) tenant.Tenant {
	t.Helper()
	got, err := w.Update(t.Context(), somebody, id, c)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := w.Get(t.Context(), id.String())
	if err != nil || !reflect.DeepEqual(got, stored) {
		t.Fatalf("answered %+v\nstored   %+v, %v", got, stored, err)
	}
	return got
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	before, _ := w.Get(t.Context(), "acme")
	w.pass(time.Hour)
	at := noon.Add(-90 * time.Nanosecond)
	got := w.update(t, id, tenant.Change{
		Name: tenant.Some("Acme"), Issuer: tenant.Some("https://id.acme.example/"), CustomDomain: tenant.Some("Keys.Acme.example"),
		StaleIfError: tenant.Some(time.Hour), NotBefore: tenant.Some(&at),
	})
	want := before
	want.Name, want.OwnIssuer, want.CustomDomain, want.Caching.StaleIfError = "Acme", "https://id.acme.example/", "keys.acme.example", time.Hour
	cut := at.Truncate(time.Microsecond)
	want.NotBefore, want.UpdatedAt, want.Version = &cut, noon.Add(time.Hour), 2
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	events := w.events(t, id)
	if e := events[1]; e.Action != audit.TenantUpdated || e.Actor != somebody.Actor || e.RequestID != "r-1" || !e.At.Equal(noon.Add(time.Hour)) ||
		string(e.Details) != `{"custom_domain":{"after":"keys.acme.example","before":null},`+
			`"issuer":{"after":"https://id.acme.example/","before":null},`+
			`"jwks_stale_if_error_seconds":{"after":3600,"before":86400},"name":{"after":"Acme","before":""},`+
			`"not_before":{"after":"2026-03-01T11:59:59.999999Z","before":null}}` {
		t.Errorf("%+v\n%s", e, e.Details)
	}
	got = w.update(t, id, tenant.Change{
		Name: tenant.Some(""), Issuer: tenant.Some(""), CustomDomain: tenant.Some(""), NotBefore: tenant.Some[*time.Time](nil),
		StaleIfError: tenant.Some(tenant.DefaultCaching.StaleIfError),
	})
	want = before
	want.UpdatedAt, want.Version = noon.Add(time.Hour), 3
	if !reflect.DeepEqual(got, want) {
		t.Errorf("cleared %+v\nwant    %+v", got, want)
	}
}

func TestUpdateThatChangesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	w.pass(time.Hour)
	for _, c := range []tenant.Change{{}, {Name: tenant.Some(""), Status: tenant.Some(tenant.Active), MaxAge: tenant.Some(5 * time.Minute)}} {
		if got := w.update(t, id, c); got.Version != 1 || !got.UpdatedAt.Equal(noon) {
			t.Errorf("%+v", got)
		}
	}
	if got := w.events(t, id); len(got) != 1 {
		t.Errorf("%v", actions(got))
	}
}

func TestSuspendAndResume(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	for range 2 {
		w.update(t, id, tenant.Change{Status: tenant.Some(tenant.Suspended)})
	}
	w.update(t, id, tenant.Change{Status: tenant.Some(tenant.Active), Name: tenant.Some("Acme")})
	events := w.events(t, id)
	want := []audit.Action{audit.TenantCreated, audit.TenantSuspended, audit.TenantUpdated, audit.TenantResumed}
	if !slices.Equal(actions(events), want) {
		t.Errorf("%v", actions(events))
	}
	if e := events[1]; e.FromState != "active" || e.ToState != "suspended" {
		t.Errorf("%+v", e)
	}
}

func TestUpdateRefused(t *testing.T) {
	w := newWorld(t)
	id, other, platform, gone := w.tenant(t, "acme"), w.tenant(t, "other"), w.tenant(t, tenant.PlatformSlug), w.tenant(t, "gone")
	tight := w.tenant(t, "tight", policy(jose.ES256, func(p *tenant.Policy) { p.GracePeriod = p.MaxTokenTTL + time.Minute }))
	w.delete(t, gone)
	w.update(t, other, tenant.Change{CustomDomain: tenant.Some("keys.example")})
	ancient, future := time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC), noon.Add(time.Minute+time.Microsecond)
	malformed := func(err error) bool { return errors.As(err, new(*tenant.FieldErrors)) }
	against := func(field string) func(error) bool {
		return func(err error) bool {
			var broken *tenant.PolicyError
			return errors.As(err, &broken) && broken.Fields[0].Field == field && strings.Contains(broken.Fields[0].Message, "ES256")
		}
	}
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	for _, c := range []struct {
		name   string
		id     uuid.UUID
		change tenant.Change
		is     func(error) bool
	}{
		{"nobody", uuid.New(), tenant.Change{Name: tenant.Some("x")}, is(tenant.ErrNotFound)},
		{"deleted", gone, tenant.Change{Name: tenant.Some("x")}, is(tenant.ErrNotFound)},
		{"domain in use", id, tenant.Change{CustomDomain: tenant.Some("KEYS.example")}, is(tenant.ErrDomainTaken)},
		{"platform", platform, tenant.Change{Status: tenant.Some(tenant.Suspended)}, is(tenant.ErrBuiltIn)},
		{"issuer", id, tenant.Change{Issuer: tenant.Some("x")}, malformed},
		{"domain", id, tenant.Change{CustomDomain: tenant.Some("x:1")}, malformed},
		{"status", id, tenant.Change{Status: tenant.Some(tenant.Deleted)}, malformed},
		{"max age", id, tenant.Change{MaxAge: tenant.Some(-time.Second)}, malformed},
		{"skew", id, tenant.Change{ClockSkew: tenant.Some(time.Hour)}, malformed},
		{"a future not before", id, tenant.Change{NotBefore: tenant.Some(&future)}, malformed},
		{"not before", id, tenant.Change{NotBefore: tenant.Some(&ancient)}, malformed},
		{"caches beyond the lead", id, tenant.Change{MaxAge: tenant.Some(24 * time.Hour)}, against("jwks_max_age_seconds")},
		{"skew beyond the grace", tight, tenant.Change{ClockSkew: tenant.Some(61 * time.Second)}, against("clock_skew_seconds")},
	} {
		if _, err := w.Update(t.Context(), somebody, c.id, c.change); !c.is(err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got := w.events(t, id); len(got) != 1 {
		t.Errorf("refused changes left %v", actions(got))
	}
}

// Shorter cache settings take effect for verifiers only when what they
// fetched before has run out.
func TestCacheHorizon(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	max := func(d time.Duration) *time.Time {
		return w.update(t, id, tenant.Change{MaxAge: tenant.Some(d)}).CacheHorizon
	}
	if h := max(20 * time.Minute); h != nil {
		t.Errorf("longer: %v", h)
	}
	if h, want := max(10*time.Minute), noon.Add(22*time.Minute); h == nil || !h.Equal(want) {
		t.Errorf("shorter: %v, want %v", h, want)
	}
	w.pass(time.Minute)
	if h, want := max(time.Minute), noon.Add(22*time.Minute); h == nil || !h.Equal(want) {
		t.Errorf("shorter again, caches of the first settings still fresh: %v, want %v", h, want)
	}
	w.pass(time.Hour)
	if h, want := max(0), noon.Add(time.Hour+time.Minute+3*time.Minute); h == nil || !h.Equal(want) {
		t.Errorf("later: %v, want %v", h, want)
	}
}

func TestConcurrentUpdates(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	var writers sync.WaitGroup
	for n := range 20 {
		writers.Go(func() {
			if _, err := w.Update(t.Context(), somebody, id, tenant.Change{StaleIfError: tenant.Some(time.Duration(n) * time.Second)}); err != nil {
				t.Error(err)
			}
			if err := w.audit.Append(t.Context(), id, somebody.Event(noon, audit.AuthorizationDenied)); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if got := w.events(t, id); len(got) != 41 {
		t.Errorf("%d events, want 41", len(got))
	}
}

// Freezes are one list: what is given replaces what was there, in the order of
// time.
func TestFreezes(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	hours := func(from, until int, reason string) tenant.Freeze {
		return tenant.Freeze{From: noon.Add(time.Duration(from) * time.Hour), Until: noon.Add(time.Duration(until) * time.Hour), Reason: reason}
	}
	set := func(windows ...tenant.Freeze) tenant.Change { return tenant.Change{Freezes: tenant.Some(windows)} }
	got := w.update(t, id, set(hours(5, 7, "release"), hours(-1, 6, "")))
	if want := []tenant.Freeze{hours(-1, 6, ""), hours(5, 7, "release")}; !reflect.DeepEqual(got.Freezes, want) {
		t.Errorf("%+v", got.Freezes)
	}
	if got = w.update(t, id, set(hours(-1, 6, ""), hours(5, 7, "release"))); got.Version != 2 {
		t.Errorf("the same windows in another order are a change: %+v", got)
	}
	if got = w.update(t, id, set()); got.Freezes != nil || got.Version != 3 {
		t.Errorf("cleared: %+v", got)
	}
	events := w.events(t, id)
	if string(events[1].Details) != `{"freeze_windows":{"after":[{"from":"2026-03-01T11:00:00Z","until":"2026-03-01T18:00:00Z"},`+
		`{"from":"2026-03-01T17:00:00Z","reason":"release","until":"2026-03-01T19:00:00Z"}],"before":null}}` {
		t.Errorf("%s", events[1].Details)
	}
	for field, c := range map[string]tenant.Change{
		"freeze_windows":           set(make([]tenant.Freeze, 51)...),
		"freeze_windows[1].until":  set(hours(1, 2, ""), hours(1, 1, "")),
		"freeze_windows[0].until":  set(hours(0, 90*24+1, "")),
		"freeze_windows[0].reason": set(hours(0, 1, strings.Repeat("x", 201))),
		"freeze_windows[0].from":   set(tenant.Freeze{From: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), Until: noon}),
	} {
		var broken *tenant.FieldErrors
		if _, err := w.Update(t.Context(), somebody, id, c); !errors.As(err, &broken) || broken.Fields[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
		spec := tenant.Spec{Slug: "other", Caching: tenant.DefaultCaching, Freezes: c.Freezes.Value}
		if err := spec.Validate(); !errors.As(err, &broken) || broken.Fields[0].Field != field {
			t.Errorf("%s in a new tenant: %v", field, err)
		}
	}
}
