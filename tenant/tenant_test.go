package tenant_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	somebody = audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: "1000", Name: "somebody"}, RequestID: "r-1"}
)

// authority is the one of every world.
var authority = tenant.NewAuthority(bytes.Repeat([]byte{7}, 32), slog.New(slog.NewTextHandler(io.Discard, nil)))

// clock is a time that only tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a database with stores on it and a clock that stands at noon.
type world struct {
	*tenant.Store
	*clock
	audit *audit.Store
	db    *db.DB
	url   string
}

func newWorld(t *testing.T) world { return worldAt(t, dbtest.New(t)) }

func worldAt(t *testing.T, url string) world {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	dbtest.MoveTime(t, url)
	c := &clock{at: noon}
	return world{
		Store: tenant.New(tenant.Config{DB: d, Now: c.now, Authority: authority}), clock: c,
		audit: audit.New(audit.Config{DB: d, Now: c.now}), db: d, url: url,
	}
}

// tenant makes a tenant with its policies and its first event, but no keys.
func (w world) tenant(t *testing.T, slug string, policies ...tenant.Policy) uuid.UUID {
	t.Helper()
	spec := tenant.Spec{Slug: slug, Caching: tenant.DefaultCaching, Policies: policies}
	if slug == tenant.PlatformSlug {
		spec = tenant.PlatformSpec()
	} else if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	id := uuid.Must(uuid.NewV7())
	head, events := audit.Chain(audit.Genesis(id), []audit.Event{somebody.Event(noon, audit.TenantCreated)})
	err := w.db.AsPlatform(t.Context(), func(tx *db.Tx) error { return insert(t.Context(), tx, spec, head, events) })
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func insert(ctx context.Context, tx *db.Tx, spec tenant.Spec, head audit.Head, events []audit.Event) error {
	row := tenant.RowOf(spec.Tenant(head.TenantID, noon))
	err := tx.InsertTenant(ctx, db.InsertTenantParams{
		ID: row.ID, Slug: row.Slug, Name: row.Name, Issuer: row.Issuer, CustomDomain: row.CustomDomain,
		JWKSMaxAgeSeconds: row.JWKSMaxAgeSeconds, JWKSStaleWhileRevalidateSeconds: row.JWKSStaleWhileRevalidateSeconds,
		JWKSStaleIfErrorSeconds: row.JWKSStaleIfErrorSeconds, ClockSkewSeconds: row.ClockSkewSeconds,
		AuditSeq: head.Seq, AuditHash: head.Hash, CreatedAt: row.CreatedAt, MAC: authority.TenantMAC(row), SearchText: spec.Tenant(head.TenantID, noon).SearchText(),
	})
	if err != nil {
		return err
	}
	for _, p := range spec.Policies {
		p := tenant.PolicyRowOf(row.ID, p)
		p.UpdatedAt = noon
		err := tx.UpsertPolicy(ctx, db.UpsertPolicyParams{
			TenantID: p.TenantID, Alg: p.Alg, IsDefault: p.IsDefault, RSABits: p.RSABits,
			RotationIntervalSeconds: p.RotationIntervalSeconds, PublishLeadSeconds: p.PublishLeadSeconds,
			GracePeriodSeconds: p.GracePeriodSeconds, PurgeAfterSeconds: p.PurgeAfterSeconds,
			DefaultTokenTTLSeconds: p.DefaultTokenTTLSeconds, MaxTokenTTLSeconds: p.MaxTokenTTLSeconds,
			MaxPublishedKeys: p.MaxPublishedKeys, MinAdoption: p.MinAdoption, MaxAdoptionWaitSeconds: p.MaxAdoptionWaitSeconds, UpdatedAt: noon, MAC: authority.PolicyMAC(p),
		})
		if err != nil {
			return err
		}
	}
	return tx.InsertAuditEvents(ctx, db.InsertAuditEventsParams(audit.ToColumns(events)))
}

// delete ends a tenant as far as this package is concerned.
func (w world) delete(t *testing.T, id uuid.UUID) {
	t.Helper()
	dbtest.Exec(t, w.url, "SET session_replication_role = replica; UPDATE tenants SET status = 'deleted', deleted_at = now() WHERE id = '"+id.String()+"'")
}

// events returns a tenant's history, oldest first, and checks its chain.
func (w world) events(t *testing.T, id uuid.UUID) []audit.Event {
	t.Helper()
	r, err := w.audit.Verify(t.Context(), id)
	if err != nil || !r.Intact {
		t.Fatalf("chain of %s: %+v, %v", id, r, err)
	}
	p, err := w.audit.List(t.Context(), id, audit.Filter{Ascending: true, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	return p.Events
}

func actions(events []audit.Event) []audit.Action {
	var a []audit.Action
	for _, e := range events {
		a = append(a, e.Action)
	}
	return a
}

// connect is a superuser's connection.
func (w world) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}
