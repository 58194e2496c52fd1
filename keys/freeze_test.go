package keys

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// frozen is the default schedule with windows, given as from and until in days
// after t0.
func frozen(days ...float64) Schedule {
	return with(func(s *Schedule) {
		at := func(d float64) time.Time { return t0.Add(time.Duration(d * float64(day))) }
		for i := 0; i < len(days); i += 2 {
			s.Freezes = append(s.Freezes, tenant.Freeze{From: at(days[i]), Until: at(days[i+1])})
		}
	})
}

func TestFreezesPutRotationsOff(t *testing.T) {
	rotation := []Step{{Promote, "s"}, {Kind: CreateStandby}}
	both := []Key{active("a", t0), standby("s", t0)}
	for name, c := range map[string]struct {
		s     Schedule
		now   float64 // days after t0; the rotation is due on day 30
		steps []Step
		next  float64
	}{
		"asked long before":            {frozen(29, 32), 1, nil, 32},
		"inside":                       {frozen(29, 32), 31, nil, 32},
		"at the end":                   {frozen(29, 32), 32, rotation, 39},
		"begins at the due time":       {frozen(30, 31), 30, nil, 31},
		"ends at the due time":         {frozen(29, 30), 30, rotation, 37},
		"over before":                  {frozen(10, 20), 15, nil, 30},
		"another begins where it ends": {frozen(29, 31, 31, 33), 30, nil, 33},
		"one within another":           {frozen(20, 40, 29, 31), 30, nil, 40},
		"began when it was overdue":    {frozen(32, 35), 33, nil, 35},
		"begins tomorrow":              {frozen(31, 35), 30, rotation, 37},
	} {
		now := t0.Add(time.Duration(c.now * float64(day)))
		steps, next := Plan(now, c.s, both)
		if want := t0.Add(time.Duration(c.next * float64(day))); !reflect.DeepEqual(steps, c.steps) || !next.Equal(want) {
			t.Errorf("%s: %v, next %v, want %v, next %v", name, steps, next, c.steps, want)
		}
		if at := NextTransition(now, c.s, both[0], both); len(c.steps) == 0 && !at.Equal(next) {
			t.Errorf("%s: the key says %v", name, at)
		}
	}
}

// Keys expire and are purged, and what is missing is published, freeze or not.
func TestNothingElseWaitsForAFreeze(t *testing.T) {
	s := frozen(-1, 80)
	keys := []Key{active("a", t0), deprecated(s, "d", t0.Add(-7*day)), revoked("r", t0.Add(-90*day))}
	steps, _ := Plan(t0, s, keys)
	if want := []Step{{Expire, "d"}, {Purge, "r"}, {Kind: CreateStandby}}; !reflect.DeepEqual(steps, want) {
		t.Errorf("%v, want %v", steps, want)
	}
	steps, next := Plan(t0.Add(day), s, []Key{standby("s", t0)})
	if len(steps) != 0 || !next.Equal(t0.Add(80*day)) {
		t.Errorf("without an active key: %v, next %v", steps, next)
	}
}

// A worker and a person in a freeze, and after it was taken back.
func TestWorkerInAFreeze(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	first, second := p.only(t, acme.ID, Active), p.only(t, acme.ID, Standby)
	now := p.clock.Now()
	set := func(windows ...tenant.Freeze) {
		t.Helper()
		if _, err := p.tenants.Update(t.Context(), tester, acme.ID, tenant.Change{Freezes: tenant.Some(windows)}); err != nil {
			t.Fatal(err)
		}
	}
	set(tenant.Freeze{From: now.Add(29 * day), Until: now.Add(40 * day), Reason: "year end"})
	p.clock.Advance(31 * day)
	p.tick(t)
	if got := p.only(t, acme.ID, Active); got != first {
		t.Fatal("rotated inside the window")
	}
	if e, err := p.store.Find(t.Context(), acme.ID, first); err != nil || !e.NextTransitionAt.Equal(now.Add(40*day).Truncate(time.Microsecond)) {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := p.store.Rotate(t.Context(), tester, acme.ID, RotateRequest{}); err != nil {
		t.Errorf("by hand: %v", err)
	}
	if got := p.only(t, acme.ID, Active); got != second {
		t.Errorf("%s signs, want %s", got, second)
	}
	set(tenant.Freeze{From: now.Add(32 * day), Until: now.Add(100 * day)})
	p.clock.Advance(35 * day)
	p.tick(t)
	if got := p.only(t, acme.ID, Active); got != second {
		t.Fatal("rotated inside the next window")
	}
	set() // nothing tells the worker but the policy's due time
	p.tick(t)
	if got := p.only(t, acme.ID, Active); got == second {
		t.Fatal("not rotated after the freeze was taken back")
	}
	p.intact(t, acme.ID)
}

func TestPreviewKnowsOfFreezes(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	until := p.clock.Now().Add(35 * day).UTC().Truncate(time.Microsecond)
	windows := []tenant.Freeze{{From: until.Add(-10 * day), Until: until}}
	if _, err := p.tenants.Update(t.Context(), tester, acme.ID, tenant.Change{Freezes: tenant.Some(windows)}); err != nil {
		t.Fatal(err)
	}
	preview, err := p.store.PreviewRotation(t.Context(), tester, acme.ID, RotateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range preview.Timeline {
		if m.From == Standby && m.To == Active && m.At.After(until.Add(-20*day)) {
			if !m.At.Equal(until) {
				t.Errorf("the next rotation is said to be at %v, want %v", m.At, until)
			}
			return
		}
	}
	t.Errorf("no next rotation: %+v", preview.Timeline)
}

// The rules hold without any code of ours.
func TestDatabaseRefusesFreezes(t *testing.T) {
	p := newPSQL(t)
	lead := p.at.Add(24 * time.Hour)
	windows := func(starts, ends, reasons string) func(*act, uuid.UUID) error {
		return func(a *act, id uuid.UUID) error {
			_, err := a.change(id, audit.Event{}, ", freeze_starts = '"+starts+"', freeze_ends = '"+ends+"', freeze_reasons = '"+reasons+"'")
			return err
		}
	}
	at := func(d time.Duration) string { return "{" + lead.Add(d).Format(time.RFC3339Nano) + "}" }
	inside := func(from, until time.Duration, how string) func(*act, uuid.UUID) error {
		return func(a *act, id uuid.UUID) error {
			return errors.Join(windows(at(from), at(until), "{year end}")(a, id),
				moveWith(Active, columns{"activated_at": lead, "activation": how})(a, id))
		}
	}
	many := "{" + strings.Repeat("2026-02-01,", 50) + "2026-02-01}"
	later := strings.ReplaceAll(many, "02-01", "02-02")
	p.against(t, []refusal{
		{"promoted at the start of a freeze", "keys_not_in_freeze", Standby, inside(0, hour, "scheduled")},
		{"promoted just before its end", "keys_not_in_freeze", Standby, inside(-hour, time.Microsecond, "scheduled")},
		{"promoted at its end", "", Standby, inside(-hour, 0, "scheduled")},
		{"promoted before it", "", Standby, inside(time.Microsecond, hour, "scheduled")},
		{"by hand in a freeze", "", Standby, inside(-hour, hour, "manual")},
		{"after a revocation in a freeze", "", Standby, inside(-hour, hour, "revocation")},
		{"as long as may be", "", Born, windows("{2026-02-01}", "{2026-05-02}", "{x}")},
		{"too long", "tenants_freezes_form", Born, windows("{2026-02-01}", "{2026-05-02 00:00:01}", "{x}")},
		{"empty", "tenants_freezes_form", Born, windows("{2026-02-01}", "{2026-02-01}", "{x}")},
		{"a long reason", "tenants_freezes_form", Born, windows("{2026-02-01}", "{2026-02-02}", "{"+strings.Repeat("x", 201)+"}")},
		{"no reason", "tenants_freezes_count", Born, windows("{2026-02-01}", "{2026-02-02}", "{}")},
		{"NULL", "tenants_freezes_whole", Born, windows("{2026-02-01}", "{2026-02-02}", "{NULL}")},
		{"51", "tenants_freezes_count", Born, windows(many, later, strings.ReplaceAll(many, "2026-02-01", "x"))},
		{"without an event", "tenants_change_is_audited", Born, sql("UPDATE tenants SET freeze_starts = '{2026-02-01}', freeze_ends = '{2026-02-02}', freeze_reasons = '{x}' WHERE id = {id}")},
	})
}
