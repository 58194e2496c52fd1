package moves

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// A rotation waits for the verifiers that a policy asks for, says so once, comes as
// soon as they have the standby, and without them at the end of the wait.
func TestRotationWaitsForAdoption(t *testing.T) {
	for _, come := range []bool{true, false} {
		t.Run(fmt.Sprint("they come: ", come), func(t *testing.T) {
			p := newProcess(t)
			var told bytes.Buffer
			p.store.cfg.Log = slog.New(slog.NewTextHandler(&told, nil))
			policy := tenant.DefaultPolicy(jose.ES256)
			policy.Default, policy.MinAdoption, policy.MaxAdoptionWait = true, 0.9, 10*24*time.Hour
			acme, other := p.tenant(t, "acme", policy), p.tenant(t, "other")
			active, standby := p.only(t, acme.ID, keys.Active), p.only(t, acme.ID, keys.Standby)
			p.clock.Advance(32 * 24 * time.Hour)
			now := p.clock.Now().UTC().Format(time.RFC3339)
			dbtest.Exec(t, p.dsn, fmt.Sprintf(`INSERT INTO jwks_clients (tenant_id, client, set_at, seen_at)
				VALUES ('%[1]s', 1, 'epoch', '%[2]s'), ('%[1]s', 2, '%[2]s', '%[2]s')`, acme.ID, now))
			for range 3 {
				done := p.tick(t)
				if p.only(t, acme.ID, keys.Active) != active {
					t.Fatal("it did not wait")
				}
				if wait := done.Next.Sub(p.clock.Now()); wait <= 0 || wait > 5*time.Minute {
					t.Errorf("it looks again in %v", wait)
				}
				p.clock.Advance(10 * time.Minute)
			}
			p.only(t, other.ID, keys.Deprecated) // nobody else waits
			if n := strings.Count(told.String(), "rotation waits for verifiers"); n != 1 {
				t.Errorf("said %d times that it waits", n)
			}
			p.store.waitingLogged.Clear() // as in another process
			p.tick(t)
			p.clock.Advance(10 * time.Minute)
			page, err := p.audit.List(t.Context(), acme.ID, audit.Filter{Action: string(audit.PolicyWaiting)})
			if err != nil {
				t.Fatal(err)
			}
			events := page.Events
			if len(events) != 1 || events[0].KID != standby || !strings.Contains(string(events[0].Details), `"stragglers":["0000000000000001"]`) ||
				!strings.Contains(string(events[0].Details), `"min_adoption":0.9`) || !strings.Contains(string(events[0].Details), `"adoption":0.5`) {
				t.Errorf("events: %+v", events)
			}
			if come {
				dbtest.Exec(t, p.dsn, fmt.Sprintf("UPDATE jwks_clients SET set_at = seen_at WHERE tenant_id = '%s'", acme.ID))
			} else {
				p.clock.Advance(10 * 24 * time.Hour)
				dbtest.Exec(t, p.dsn, fmt.Sprintf("UPDATE jwks_clients SET seen_at = '%s'", p.clock.Now().UTC().Format(time.RFC3339)))
			}
			p.tick(t)
			if p.only(t, acme.ID, keys.Active) != standby {
				t.Error("it did not come")
			}
			p.intact(t, acme.ID)
		})
	}
}

// Two leaders that have both planned to record that a rotation waits record it once.
func TestTwoLeadersRecordAWaitOnce(t *testing.T) {
	a := newProcess(t)
	b := a.another(t)
	policy := tenant.DefaultPolicy(jose.ES256)
	policy.Default, policy.MinAdoption, policy.MaxAdoptionWait = true, 0.9, 10*24*time.Hour
	acme := a.tenant(t, "acme", policy)
	a.clock.Advance(32 * 24 * time.Hour)
	dbtest.Exec(t, a.dsn, "INSERT INTO jwks_clients (tenant_id, client, set_at, seen_at) VALUES ($1, 1, 'epoch', $2)", acme.ID, a.clock.Now())
	var planned []*batch
	for _, p := range []*process{a, b} {
		w, err := p.store.prepareBatch(t.Context(), robot, p.store.currentTime(), []uuid.UUID{acme.ID}, false)
		if err != nil {
			t.Fatal(err)
		}
		planned = append(planned, w)
	}
	for i, p := range []*process{a, b} {
		if done, err := p.store.commitBatch(t.Context(), robot, planned[i], planned[i].tenants); err != nil || done.Failed != 0 || done.Rotated != 0 {
			t.Fatalf("leader %d: %+v, %v", i, done, err)
		}
	}
	page, err := a.audit.List(t.Context(), acme.ID, audit.Filter{Action: string(audit.PolicyWaiting)})
	if err != nil || len(page.Events) != 1 {
		t.Errorf("%d events that it waits, %v", len(page.Events), err)
	}
	a.intact(t, acme.ID)
}
