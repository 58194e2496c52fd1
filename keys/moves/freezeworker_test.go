package moves

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// A worker and a person in a freeze, and after it was taken back.
func TestWorkerInAFreeze(t *testing.T) {
	p := newProcess(t)
	acme := p.tenant(t, "acme")
	first, second := p.only(t, acme.ID, keys.Active), p.only(t, acme.ID, keys.Standby)
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
	if got := p.only(t, acme.ID, keys.Active); got != first {
		t.Fatal("rotated inside the window")
	}
	if e, err := p.store.Find(t.Context(), acme.ID, first); err != nil || !e.NextTransitionAt.Equal(now.Add(40*day).Truncate(time.Microsecond)) {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := p.store.Rotate(t.Context(), tester, acme.ID, RotateRequest{}); err != nil {
		t.Errorf("by hand: %v", err)
	}
	if got := p.only(t, acme.ID, keys.Active); got != second {
		t.Errorf("%s signs, want %s", got, second)
	}
	set(tenant.Freeze{From: now.Add(32 * day), Until: now.Add(100 * day)})
	p.clock.Advance(35 * day)
	p.tick(t)
	if got := p.only(t, acme.ID, keys.Active); got != second {
		t.Fatal("rotated inside the next window")
	}
	set() // nothing tells the worker but the policy's due time
	p.tick(t)
	if got := p.only(t, acme.ID, keys.Active); got == second {
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
		if m.From == keys.Standby && m.To == keys.Active && m.At.After(until.Add(-20*day)) {
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
				moveWith(keys.Active, columns{"activated_at": lead, "activation": how})(a, id))
		}
	}
	many := "{" + strings.Repeat("2026-02-01,", 50) + "2026-02-01}"
	later := strings.ReplaceAll(many, "02-01", "02-02")
	p.against(t, []refusal{
		{"promoted at the start of a freeze", "keys_not_in_freeze", keys.Standby, inside(0, hour, "scheduled")},
		{"promoted just before its end", "keys_not_in_freeze", keys.Standby, inside(-hour, time.Microsecond, "scheduled")},
		{"promoted at its end", "", keys.Standby, inside(-hour, 0, "scheduled")},
		{"promoted before it", "", keys.Standby, inside(time.Microsecond, hour, "scheduled")},
		{"by hand in a freeze", "", keys.Standby, inside(-hour, hour, "manual")},
		{"after a revocation in a freeze", "", keys.Standby, inside(-hour, hour, "revocation")},
		{"as long as may be", "", keys.Born, windows("{2026-02-01}", "{2026-05-02}", "{x}")},
		{"too long", "tenants_freezes_form", keys.Born, windows("{2026-02-01}", "{2026-05-02 00:00:01}", "{x}")},
		{"empty", "tenants_freezes_form", keys.Born, windows("{2026-02-01}", "{2026-02-01}", "{x}")},
		{"a long reason", "tenants_freezes_form", keys.Born, windows("{2026-02-01}", "{2026-02-02}", "{"+strings.Repeat("x", 201)+"}")},
		{"no reason", "tenants_freezes_count", keys.Born, windows("{2026-02-01}", "{2026-02-02}", "{}")},
		{"NULL", "tenants_freezes_whole", keys.Born, windows("{2026-02-01}", "{2026-02-02}", "{NULL}")},
		{"51", "tenants_freezes_count", keys.Born, windows(many, later, strings.ReplaceAll(many, "2026-02-01", "x"))},
		{"without an event", "tenants_change_is_audited", keys.Born, sql("UPDATE tenants SET freeze_starts = '{2026-02-01}', freeze_ends = '{2026-02-02}', freeze_reasons = '{x}' WHERE id = {id}")},
	})
}
