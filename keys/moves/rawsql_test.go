package moves

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
)

// psql is somebody with a shell on the database: no code of ours stands
// between the statements and the rules.
type psql struct {
	t    *testing.T
	conn *pgx.Conn
	at   time.Time // of everything that happens first
}

func newPSQL(t *testing.T) *psql {
	t.Helper()
	url := dbtest.New(t)
	dbtest.MoveTime(t, url) // the tests say when something happens
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	p := &psql{t: t, conn: conn, at: time.Now().UTC().Truncate(time.Microsecond)}
	p.must(func(a *act) error {
		return a.exec(`INSERT INTO master_keys (id, uri, version, is_current, key_check, authority, created_at)
			VALUES (gen_random_uuid(), 'file:test', '1', true, 'check', 'authority', $1)`, p.at)
	})
	return p
}

// act is one transaction, as superuser unless it takes a role.
type act struct {
	tx  pgx.Tx
	ctx context.Context
	at  time.Time
}

func (a *act) exec(sql string, args ...any) error {
	_, err := a.tx.Exec(a.ctx, sql, args...)
	return err
}

// as takes a role until the end of the transaction.
func (a *act) as(role string, tenantID uuid.UUID) error {
	if role == "" {
		return nil
	}
	return a.exec("SELECT set_config('role', $1, true), set_config('keyward.tenant_id', $2, true)", role, tenantID.String())
}

// bare turns triggers and foreign keys off, so that a row meets the CHECKs and
// unique indexes alone.
func (a *act) bare() error { return a.exec("SET LOCAL session_replication_role = replica") }

// try runs do and commits; whatever refuses, then or at the end, is the result.
func (p *psql) try(do func(*act) error) error {
	p.t.Helper()
	return pgx.BeginFunc(p.t.Context(), p.conn, func(tx pgx.Tx) error {
		return do(&act{tx: tx, ctx: p.t.Context(), at: p.at})
	})
}

func (p *psql) must(do func(*act) error) {
	p.t.Helper()
	if err := p.try(do); err != nil {
		p.t.Fatal(err)
	}
}

// next is the event that would continue a tenant's chain.
func (a *act) next(id uuid.UUID, e audit.Event) (audit.Event, error) {
	head := audit.Head{TenantID: id}
	if err := a.tx.QueryRow(a.ctx, "SELECT audit_seq, audit_hash FROM tenants WHERE id = $1", id).Scan(&head.Seq, &head.Hash); err != nil {
		return audit.Event{}, err
	}
	if e.At.IsZero() {
		e.At = a.at
	}
	if e.Action == "" {
		e.Action = audit.TenantUpdated
	}
	e.Actor = tester.Actor
	_, chained := audit.Chain(head, []audit.Event{e})
	return chained[0], nil
}

// reach moves the head of a chain to an event; set is what else changes.
func (a *act) reach(e audit.Event, set string) error {
	if !strings.Contains(set, "feed_xid") {
		set += ", feed_xid = pg_current_xact_id()"
	}
	return a.exec("UPDATE tenants SET audit_seq = $2, audit_hash = $3"+set+" WHERE id = $1", e.TenantID, e.Seq, e.Hash)
}

func (a *act) insert(e audit.Event) error {
	return a.exec(`INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, kid, from_state, to_state,
		details, prev_hash, hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, nullif($8, ''), nullif($9, ''), nullif($10, ''), $11, $12, $13)`,
		e.TenantID, e.Seq, e.At, e.Action, e.Actor.Type, e.Actor.ID, e.Actor.Name, e.KID, e.FromState, e.ToState,
		string(e.Details), e.PrevHash, e.Hash)
}

// happen records an event as it should be and returns its seq.
func (a *act) happen(id uuid.UUID, e audit.Event) (int64, error) {
	return a.change(id, e, "")
}

// change records an event and changes the tenant's row with it.
func (a *act) change(id uuid.UUID, e audit.Event, set string) (int64, error) {
	e, err := a.next(id, e)
	if err != nil {
		return 0, err
	}
	return e.Seq, errors.Join(a.reach(e, set), a.insert(e))
}

// tenant makes one with a policy for ES256, a data key, and no keys.
func (p *psql) tenant(slug string) uuid.UUID {
	p.t.Helper()
	id := uuid.Must(uuid.NewV7())
	if slug == "" {
		slug = "t-" + id.String()
	}
	head, events := audit.Chain(audit.Genesis(id), []audit.Event{
		{At: p.at, Action: audit.TenantCreated, Actor: tester.Actor}, {At: p.at, Action: audit.PolicyCreated, Actor: tester.Actor, Details: audit.Details(columns{"alg": "ES256"})},
	})
	p.must(func(a *act) error {
		return errors.Join(
			a.exec("INSERT INTO tenants (id, slug, audit_seq, audit_hash, created_at, updated_at, feed_xid) VALUES ($1, $2, $3, $4, $5, $5, pg_current_xact_id())",
				id, slug, head.Seq, head.Hash, p.at),
			a.insert(events[0]), a.insert(events[1]),
			a.exec(`INSERT INTO data_keys (tenant_id, version, is_current, wrapped, master_key_id, created_at)
				SELECT $1, 1, true, 'wrapped', id, $2 FROM master_keys WHERE is_current`, id, p.at),
			a.policy(id, "ES256", nil))
	})
	return id
}

// policy inserts one with the default values and those given.
func (a *act) policy(id uuid.UUID, alg string, with map[string]any) error {
	row := map[string]any{
		"tenant_id": id, "alg": alg, "is_default": alg == "ES256", "rotation_interval_seconds": 2592000, "publish_lead_seconds": 86400,
		"grace_period_seconds": 604800, "purge_after_seconds": 7776000, "default_token_ttl_seconds": 3600,
		"max_token_ttl_seconds": 86400, "max_published_keys": 8, "created_at": a.at, "updated_at": a.at,
	}
	if strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS") {
		row["rsa_bits"] = 2048
	}
	for column, value := range with {
		row[column] = value
	}
	return a.insertRow("policies", row)
}

func (a *act) insertRow(table string, row map[string]any) error {
	var columns, places []string
	var args []any
	for column, value := range row {
		args = append(args, value)
		columns, places = append(columns, column), append(places, fmt.Sprintf("$%d", len(args)))
	}
	return a.exec("INSERT INTO "+table+" ("+strings.Join(columns, ", ")+") VALUES ("+strings.Join(places, ", ")+")", args...)
}
