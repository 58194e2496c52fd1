package keys

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/db/dbtest"
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
	active, standby := p.only(t, bad.ID, Active), p.only(t, bad.ID, Standby)
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
		p.only(t, m.ID, Active)
		p.only(t, m.ID, Standby)
		p.only(t, m.ID, Deprecated)
		p.intact(t, m.ID)
	}
	if p.only(t, bad.ID, Active) != active || p.only(t, bad.ID, Standby) != standby {
		t.Error("the damaged tenant moved")
	}
	if wait := done.Next.Sub(p.clock.Now()); wait <= 0 || wait > retryAfter {
		t.Errorf("the damaged tenant is looked at again in %v", wait)
	}
}

// What was read before the lock counts only if nothing happened in between.
func TestChangedBetweenPlanAndLock(t *testing.T) {
	p := newProcess(t)
	moved, still := p.tenant(t, "moved"), p.tenant(t, "still")
	p.clock.Advance(31 * 24 * time.Hour)
	w, err := p.store.prepare(context.Background(), robot, p.store.now(), []uuid.UUID{moved.ID, still.ID})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.Rotate(t.Context(), tester, moved.ID, RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	active := p.only(t, moved.ID, Active)
	done, err := p.store.settle(t.Context(), robot, w, w.tenants)
	if err != nil || done.Rotated != 1 || done.Failed != 0 {
		t.Fatalf("%+v, %v, want one rotated", done, err)
	}
	if p.only(t, moved.ID, Active) != active {
		t.Error("rotated again, by a plan that was no longer true")
	}
	p.only(t, still.ID, Deprecated)
	p.intact(t, moved.ID)
	p.intact(t, still.ID)
}
