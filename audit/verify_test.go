package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

func TestVerifyIntact(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	odd := sample()
	odd.Reason, odd.Actor.Name = "NUL \x00, broken \xff, quote ' and \u2028", "☃"
	odd.Details = json.RawMessage("{ \"z\" : 1.0,\n\"a\": [1e2, \"\\u0000\", null], \"z\": 2 }")
	w.append(t, id, sample(), odd, denied("", 1))
	many := make([]audit.Event, 2500) // more than two stretches
	for i := range many {
		many[i] = denied(fmt.Sprint("kid", i), i)
	}
	w.append(t, id, many...)

	r, err := w.Verify(t.Context(), id)
	if err != nil || !r.Intact || r.Events != 2504 || r.Head.Seq != 2504 || r.BrokenAt != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	p, err := w.List(t.Context(), id, audit.Filter{Ascending: true, Limit: 3})
	if err != nil || string(p.Events[2].Details) != string(odd.Details) || p.Events[2].Tenant != "acme" {
		t.Errorf("%s, %v", p.Events[2].Details, err)
	}
}

func TestVerifyNoTenant(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Verify(t.Context(), uuid.New()); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("Verify: %v", err)
	}
	if err := w.Append(t.Context(), uuid.New(), denied("", 0)); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("Append: %v", err)
	}
}

func TestVerifyFindsTampering(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct {
		name, sql string // of a chain of 10 events
		brokenAt  int64
	}{
		{"time", "UPDATE audit_events SET at = at + interval '1 microsecond' WHERE %s AND seq = 4", 4},
		{"action", "UPDATE audit_events SET action = 'key.created' WHERE %s AND seq = 4", 4},
		{"actor type", "UPDATE audit_events SET actor_type = 'worker' WHERE %s AND seq = 4", 4},
		{"actor id", "UPDATE audit_events SET actor_id = 'other' WHERE %s AND seq = 4", 4},
		{"actor name", "UPDATE audit_events SET actor_name = 'other' WHERE %s AND seq = 4", 4},
		{"kid", "UPDATE audit_events SET kid = NULL WHERE %s AND seq = 4", 4},
		{"from", "UPDATE audit_events SET from_state = 'active' WHERE %s AND seq = 4", 4},
		{"to", "UPDATE audit_events SET to_state = 'active' WHERE %s AND seq = 4", 4},
		{"reason", "UPDATE audit_events SET reason = 'x' WHERE %s AND seq = 4", 4},
		{"request id", "UPDATE audit_events SET request_id = 'x' WHERE %s AND seq = 4", 4},
		{"details", `UPDATE audit_events SET details = '{ }' WHERE %s AND seq = 4`, 4},
		{"hash", "UPDATE audit_events SET hash = sha256(hash) WHERE %s AND seq = 4", 4},
		{"prev hash", "UPDATE audit_events SET prev_hash = sha256(hash) WHERE %s AND seq = 4", 4},
		{"first event", "UPDATE audit_events SET reason = 'x' WHERE %s AND seq = 1", 1},
		{"last event", "UPDATE audit_events SET reason = 'x' WHERE %s AND seq = 10", 10},
		{"missing", "DELETE FROM audit_events WHERE %s AND seq = 5", 5},
		{"missing and renumbered", "DELETE FROM audit_events WHERE %[1]s AND seq = 5; UPDATE audit_events SET seq = seq - 1 WHERE %[1]s AND seq > 5", 5},
		{"beginning missing", "DELETE FROM audit_events WHERE %s AND seq <= 3", 1},
		{"tail cut off", "DELETE FROM audit_events WHERE %s AND seq > 7", 8},
		{"all gone", "DELETE FROM audit_events WHERE %s", 1},
		{"reordered", "UPDATE audit_events SET seq = -seq WHERE %[1]s AND seq IN (3, 4); UPDATE audit_events SET seq = 7 + seq WHERE %[1]s AND seq < 0", 3},
		{"head changed", "UPDATE tenants SET audit_hash = sha256(audit_hash) WHERE %[2]s", 10},
		{"head ahead", "UPDATE tenants SET audit_seq = 11 WHERE %[2]s", 11},
		{"head behind", "UPDATE tenants t SET audit_seq = 9, audit_hash = e.hash FROM audit_events e WHERE e.seq = 9 AND e.%[1]s AND t.%[2]s", 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, other := w.tenant(t, fmt.Sprint("t", i)), w.tenant(t, fmt.Sprint("other", i))
			for n := range 9 {
				w.append(t, id, denied("kid", n))
			}
			drop := "ALTER TABLE audit_events DROP CONSTRAINT IF EXISTS audit_events_seq; "
			w.tamper(t, drop+fmt.Sprintf(c.sql+"%.0[1]s%.0[2]s", fmt.Sprintf("tenant_id = '%s'", id), fmt.Sprintf("id = '%s'", id)))
			r, err := w.Verify(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if r.Intact || r.BrokenAt == nil || *r.BrokenAt != c.brokenAt {
				t.Errorf("intact %v, broken at %v, want %d", r.Intact, value(r.BrokenAt), c.brokenAt)
			}
			if r, err := w.Verify(t.Context(), other); err != nil || !r.Intact {
				t.Errorf("another tenant: %+v, %v", r, err)
			}
		})
	}
}

func value(p *int64) any {
	if p == nil {
		return nil
	}
	return *p
}

// A forger who knows the layout rewrites an event with a hash that fits it,
// but not the event after it.
func TestVerifyFindsARehashedEvent(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	w.append(t, id, denied("a", 1), denied("b", 2), denied("c", 3))
	p, err := w.List(t.Context(), id, audit.Filter{Ascending: true})
	if err != nil {
		t.Fatal(err)
	}
	forged := p.Events[1]
	forged.Reason = "nothing happened"
	w.tamper(t, fmt.Sprintf(`UPDATE audit_events SET reason = 'nothing happened', hash = '\x%x' WHERE tenant_id = '%s' AND seq = 2`,
		audit.Digest(forged), id))
	if r, err := w.Verify(t.Context(), id); err != nil || r.Intact || value(r.BrokenAt) != int64(3) {
		t.Errorf("%+v, broken at %v, %v", r, value(r.BrokenAt), err)
	}
}

func TestConcurrentAppends(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	var writers sync.WaitGroup
	for n := range 50 {
		writers.Go(func() {
			if err := w.Append(t.Context(), id, denied(fmt.Sprint(n), n), denied(fmt.Sprint(n), n)); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		if r, err := w.Verify(t.Context(), id); err != nil || !r.Intact {
			t.Fatalf("while others append: %+v, broken at %v, %v", r, value(r.BrokenAt), err)
		}
	}
	if r, _ := w.Verify(t.Context(), id); r.Events != 101 {
		t.Errorf("%d events, want 101", r.Events)
	}
}

func TestAppendIsStampedAndQuiet(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	if err := w.Append(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.append(t, id, audit.Event{Action: audit.AuthorizationDenied, Actor: somebody.Actor})
	p, err := w.List(t.Context(), id, audit.Filter{})
	if err != nil || len(p.Events) != 2 || !p.Events[0].At.Equal(noon) {
		t.Errorf("%+v, %v", p, err)
	}
}

// The chain of a deleted tenant can still be read and checked.
func TestHistoryOutlivesItsTenant(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	head, events := audit.Chain(w.head(t, id), []audit.Event{somebody.Event(noon, audit.TenantDeleted)})
	deleted := noon.Add(time.Hour)
	err := w.db.AsPlatform(t.Context(), func(tx *db.Tx) error {
		if _, err := tx.UpdateTenant(t.Context(), db.UpdateTenantParams{
			Status: "deleted", UpdatedAt: deleted, DeletedAt: &deleted, AuditSeq: head.Seq, AuditHash: head.Hash, TenantID: id,
		}); err != nil {
			return err
		}
		return tx.InsertAuditEvents(t.Context(), db.InsertAuditEventsParams(audit.ToColumns(events)))
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := w.Verify(t.Context(), id); err != nil || !r.Intact || r.Events != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if p, err := w.ListAll(t.Context(), audit.Filter{TenantID: id}); err != nil || len(p.Events) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}

func (w world) head(t *testing.T, id uuid.UUID) audit.Head {
	t.Helper()
	r, err := w.Verify(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r.Head
}
