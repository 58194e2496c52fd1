package moves

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// Many small batches at once do the same as one: everybody's rotation, once. A
// tenant that the database refuses is put off alone, its batch is not.
func TestBatchesAtOnce(t *testing.T) {
	p := newProcess(t)
	p.store.cfg.DueBatch, p.store.cfg.DueParallel = 3, 4
	var made []tenant.Tenant
	for i := range 25 {
		made = append(made, p.tenant(t, fmt.Sprintf("t%d", i)))
	}
	bad := made[11]
	active, standby := p.only(t, bad.ID, keys.Active), p.only(t, bad.ID, keys.Standby)
	dbtest.Exec(t, p.dsn, "SET session_replication_role = replica; UPDATE audit_events SET hash = sha256('x') WHERE tenant_id = '"+bad.ID.String()+
		"' AND seq = (SELECT audit_seq FROM tenants WHERE id = tenant_id)")
	p.clock.Advance(31 * 24 * time.Hour)
	done := p.tick(t)
	if want := len(made); done.Rotated != want || done.Failed != 1 { // the platform's own too, the damaged one not
		t.Errorf("%+v, want %d rotated and 1 failed", done, want)
	}
	for _, m := range made {
		if m.ID == bad.ID {
			continue
		}
		p.only(t, m.ID, keys.Active)
		p.only(t, m.ID, keys.Standby)
		p.only(t, m.ID, keys.Deprecated)
		p.intact(t, m.ID)
	}
	if p.only(t, bad.ID, keys.Active) != active || p.only(t, bad.ID, keys.Standby) != standby {
		t.Error("the damaged tenant moved")
	}
	if wait := done.Next.Sub(p.clock.Now()); wait <= 0 || wait > postponeFor {
		t.Errorf("the damaged tenant is looked at again in %v", wait)
	}
}

// A key moves at the time of its transaction, however long before it was planned: with
// an earlier time it would have signed after it was deprecated.
func TestBatchTakesEffectWhenItHasItsLocks(t *testing.T) {
	p := newProcess(t)
	m := p.tenant(t, "late")
	old := p.only(t, m.ID, keys.Active)
	p.clock.Advance(31 * 24 * time.Hour)
	w, err := p.store.prepareBatch(t.Context(), robot, p.store.currentTime(), []uuid.UUID{m.ID}, false)
	if err != nil {
		t.Fatal(err)
	}
	p.clock.Advance(2 * time.Minute) // keys were made, others had the locks
	locked := p.store.currentTime()
	if done, err := p.store.commitBatch(t.Context(), robot, w, w.tenants); err != nil || done.Rotated != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, kid := range []string{old, p.only(t, m.ID, keys.Active), p.only(t, m.ID, keys.Standby)} {
		k, err := p.store.Get(t.Context(), m.ID, kid)
		if err != nil {
			t.Fatal(err)
		}
		at := &k.PublishedAt
		switch k.State {
		case keys.Active:
			at = k.ActivatedAt
		case keys.Deprecated:
			at = k.DeprecatedAt
		}
		if at.Before(locked) {
			t.Errorf("the %s key moved %s before its transaction began", k.State, locked.Sub(*at))
		}
	}
}

// What was read before the lock counts only if nothing happened in between.
func TestChangedBetweenPlanAndLock(t *testing.T) {
	p := newProcess(t)
	moved, still := p.tenant(t, "moved"), p.tenant(t, "still")
	p.clock.Advance(31 * 24 * time.Hour)
	w, err := p.store.prepareBatch(context.Background(), robot, p.store.currentTime(), []uuid.UUID{moved.ID, still.ID}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.Rotate(t.Context(), tester, moved.ID, RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	active := p.only(t, moved.ID, keys.Active)
	done, err := p.store.commitBatch(t.Context(), robot, w, w.tenants)
	if err != nil || done.Rotated != 1 || done.Failed != 0 {
		t.Fatalf("%+v, %v, want one rotated", done, err)
	}
	if p.only(t, moved.ID, keys.Active) != active {
		t.Error("rotated again, by a plan that was no longer true")
	}
	p.only(t, still.ID, keys.Deprecated)
	p.intact(t, moved.ID)
	p.intact(t, still.ID)
}

// While somebody asks, a batch is small and no other is under way until it has
// been rested from. Nobody having asked for a while, all goes at once again.
func TestBatchesYieldToRequests(t *testing.T) {
	p := newProcess(t)
	for i := range 3*yieldBatch - 1 { // the platform is one more
		p.tenant(t, fmt.Sprintf("t%d", i))
	}
	var (
		asked, batches, rests int
		growing               bool
		now                   = time.Now()
	)
	p.store.throttle.since = now // creating the tenants may have taken long
	p.store.throttle.now = func() time.Time { now = now.Add(yieldWindow / 2); return now }
	p.store.cfg.Requests = func() int64 {
		if batches++; growing {
			if n := p.rotated(t); n != yieldBatch*(batches-1) || rests != batches-1 {
				t.Errorf("batch %d begins after %d rotations and %d rests", batches, n, rests)
			}
			asked += yieldRate
		}
		return int64(asked)
	}
	p.store.pause = func(_ context.Context, d time.Duration) {
		if rests++; d <= 0 {
			t.Errorf("rested for %v", d)
		}
	}
	month := func(want int) {
		t.Helper()
		p.becomeDue(t, 0)
		if batches = 0; p.tick(t).Rotated != 3*yieldBatch || batches != want {
			t.Errorf("%d batches, want %d, of %d rotations", batches, want, 3*yieldBatch)
		}
	}
	growing = true
	month(3)
	growing = false
	now = now.Add(yieldWindow)
	month(1)
	if rests != 3 {
		t.Errorf("%d rests, want 3", rests)
	}
}

// becomeDue moves the clock of the store on to when its policies are due, for some time
// already, and stops it there.
func (p *process) becomeDue(t *testing.T, since time.Duration) {
	t.Helper()
	p.clock.Advance(31 * 24 * time.Hour)
	now := p.clock.Now().UTC().Truncate(time.Microsecond)
	p.store.cfg.Now = func() time.Time { return now }
	dbtest.Exec(t, p.dsn, "UPDATE policies SET due_at = $1 WHERE due_at IS NOT NULL", now.Add(-since))
}

// Yielding ends once a policy is late, whoever asks, and not before.
func TestLateWorkYieldsNoLonger(t *testing.T) {
	p := newProcess(t)
	p.tenant(t, "acme")
	quick := tenant.DefaultPolicy(jose.ES384)
	quick.RotationInterval, quick.PublishLead = 700*time.Second, 600*time.Second
	p.tenant(t, "quick", quick)
	asked, rests := int64(0), 0
	p.store.cfg.Requests = func() int64 { asked += yieldRate; return asked }
	p.store.pause = func(context.Context, time.Duration) { rests++ }
	for _, c := range []struct {
		late   time.Duration
		quick  bool // is the policy with the short interval due too
		yields bool
	}{
		{0, true, true},
		{7 * time.Second, true, true},
		{7*time.Second + time.Microsecond, true, false},
		{10 * time.Second, false, true},
		{10*time.Second + time.Microsecond, false, false},
		{time.Hour, true, false},
	} {
		p.becomeDue(t, c.late)
		if !c.quick {
			dbtest.Exec(t, p.dsn, "UPDATE policies SET due_at = due_at + interval '1 day' WHERE alg = 'ES384'")
		}
		rests = 0
		if done := p.tick(t); done.Rotated < 2 || (rests > 0) != c.yields {
			t.Errorf("late by %s, the short interval too: %t: %d rotations, %d rests", c.late, c.quick, done.Rotated, rests)
		}
	}
}

// A batch that is too large to commit within the bound of its time is done in parts.
func TestSlowBatchIsHalved(t *testing.T) {
	p := newProcess(t)
	for i := range 9 {
		p.tenant(t, fmt.Sprintf("t%d", i))
	}
	p.becomeDue(t, 0)
	dbtest.Exec(t, p.dsn, `CREATE OR REPLACE FUNCTION public.keyward_clock() RETURNS timestamptz LANGUAGE plpgsql AS $$
		BEGIN
			RETURN CASE WHEN (SELECT count(DISTINCT tenant_id) FROM public.audit_events WHERE xid = pg_current_xact_id()) > 3 THEN 'infinity'::timestamptz END;
		END $$`)
	if done := p.tick(t); done.Rotated != 10 || done.Failed != 0 { // the platform too
		t.Errorf("%+v, want 10 rotations", done)
	}
}

// rotated counts keys that were rotated out and are still in a JWKS.
func (p *process) rotated(t *testing.T) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.dsn)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM keys WHERE state = 'deprecated'").Scan(&n); err != nil {
		t.Error(err)
	}
	return n
}

// Others ask if they are many a second, over a second or at once.
func TestThrottle(t *testing.T) {
	now := time.Now()
	m := throttle{now: func() time.Time { return now }, since: now}
	asked := int64(0)
	for i, step := range []struct {
		after time.Duration
		more  int64
		want  bool
	}{
		{0, yieldRate - 1, false},
		{0, 1, true},
		{yieldWindow / 2, 0, true},
		{yieldWindow / 2, 0, false},
		{time.Hour, 3600, false},
		{time.Hour, 3600 * yieldRate, true},
		{yieldWindow / 10, 1, true},
		{yieldWindow, yieldRate / 2, false},
	} {
		now, asked = now.Add(step.after), asked+step.more
		if got := m.shouldYield(asked); got != step.want {
			t.Errorf("step %d: %t, want %t", i, got, step.want)
		}
	}
}
