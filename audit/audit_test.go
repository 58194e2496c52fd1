package audit_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	somebody = audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: "1000", Name: "somebody"}, RequestID: "r-1"}
)

// world is a database with a store on it.
type world struct {
	*audit.Store
	db  *db.DB
	url string
}

func newWorld(t *testing.T) world {
	t.Helper()
	url := dbtest.New(t)
	d, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	dbtest.MoveTime(t, url)
	return world{Store: audit.New(audit.Config{DB: d, Now: func() time.Time { return noon }}), db: d, url: url}
}

// tenant makes a tenant with its first event.
func (w world) tenant(t *testing.T, slug string) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	head, events := audit.Chain(audit.Genesis(id), []audit.Event{somebody.Event(noon.Add(-time.Hour), audit.TenantCreated)})
	err := w.db.AsPlatform(t.Context(), func(tx *db.Tx) error {
		if err := tx.InsertTenant(t.Context(), db.InsertTenantParams{
			ID: id, Slug: slug, AuditSeq: head.Seq, AuditHash: head.Hash, AuditAt: &head.LastAt, CreatedAt: noon,
		}); err != nil {
			return err
		}
		return tx.InsertAuditEvents(t.Context(), db.InsertAuditEventsParams(audit.ToColumns(events)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// denied is an event of a kid, some minutes after noon.
func denied(kid string, minutes int) audit.Event {
	e := somebody.Event(noon.Add(time.Duration(minutes)*time.Minute), audit.AuthorizationDenied)
	e.KID = kid
	return e
}

func (w world) append(t *testing.T, id uuid.UUID, events ...audit.Event) {
	t.Helper()
	if err := w.Append(t.Context(), id, events...); err != nil {
		t.Fatal(err)
	}
}

// tamper runs SQL as the superuser, with triggers off.
func (w world) tamper(t *testing.T, sql string) {
	t.Helper()
	dbtest.Exec(t, w.url, "SET session_replication_role = replica; "+sql)
}

// collect follows cursors to the end.
func collect(t *testing.T, list func(context.Context, audit.Filter) (audit.Page, error), f audit.Filter) []audit.Event {
	t.Helper()
	var all []audit.Event
	for {
		p, err := list(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Events) > f.Limit {
			t.Fatalf("page of %d events, limit %d", len(p.Events), f.Limit)
		}
		all = append(all, p.Events...)
		if f.Cursor = p.Next; f.Cursor == "" {
			return all
		}
	}
}
