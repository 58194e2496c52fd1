package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// populate gives a tenant a row in every table that tenants share.
func (w world) populate(t *testing.T, slug string) uuid.UUID {
	t.Helper()
	id := w.tenant(t, slug)
	once := tenant.Once{TenantID: &id, CredentialID: "c", Key: "k", RequestHash: []byte("h")}
	_, _, err := w.RunOnce(t.Context(), once, func(ctx context.Context) (tenant.Answer, error) {
		_, _, err := w.CreateAPIKey(ctx, somebody, tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin})
		return tenant.Answer{Status: 201}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, w.url, fmt.Sprintf(`SET session_replication_role = replica;
		INSERT INTO data_keys (tenant_id, version, is_current, created_at, destroyed_at) VALUES ('%[1]s', 1, false, now(), now());
		INSERT INTO keys (tenant_id, kid, alg, state, origin, created_at, published_at, revoked_at, revocation_reason, purged_at, state_event)
		VALUES ('%[1]s', 'kid', 'ES256', 'purged', 'generated', now(), now(), now(), 'unspecified', now(), 1);
		INSERT INTO webhooks (tenant_id, id, of_all, url, actions, created_at, updated_at, place_seq)
		VALUES ('%[1]s', '%[1]s', false, 'https://example.com', '{}', now(), now(), 1);
		INSERT INTO jwks_clients (tenant_id, client, set_at, seen_at) VALUES ('%[1]s', 1, now(), now());
		INSERT INTO published_sets (tenant_id, target, epoch, version, feed_xid, due_at, failures) VALUES ('%[1]s', 'file:///sets', 1, 1, '1', now(), 0);
		INSERT INTO workload_identities (tenant_id, id, name, issuer, audience, rules, role, max_token_lifetime_seconds, created_at, creator_type, creator_id, creator_name)
		VALUES ('%[1]s', '%[1]s', 'ci', 'https://ci.example', 'keyward', '[]', 'tenant_signer', 3600, now(), 'operator', '', '');
		INSERT INTO domains (tenant_id, domain, token, created_at) VALUES ('%[1]s', 'id.example', repeat('t', 26), now());
		INSERT INTO approvals (tenant_id, id, operation, effects, operation_id, path, request_hash, requester_type, requester_id, requester_name, created_at, expires_at)
		VALUES ('%[1]s', '%[1]s', 'purge', '{purge}', 'purgeKeys', '/', sha256('r'), 'operator', '', '', now(), now() + interval '1 day');
		INSERT INTO webhook_deliveries (tenant_id, webhook_id, id, of_all, event_tenant_id, event_seq, action, asked_at, due_at, created_at)
		VALUES ('%[1]s', '%[1]s', '%[1]s', false, '%[1]s', 1, 'tenant.created', now(), now(), now())`, id))
	return id
}

// The tables with rows of tenants, and the column that says whose.
func (w world) shared(t *testing.T) map[string]string {
	t.Helper()
	rows, err := w.connect(t).Query(t.Context(), `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = 'public' AND (column_name = 'tenant_id' OR table_name = 'tenants' AND column_name = 'id')`)
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]string{}
	var table, column string
	if _, err := pgx.ForEachRow(rows, []any{&table, &column}, func() error { tables[table] = column; return nil }); err != nil {
		t.Fatal(err)
	}
	return tables
}

func TestOneTenantSeesNothingOfAnother(t *testing.T) {
	w := newWorld(t)
	a, b := w.populate(t, "a"), w.populate(t, "b")
	tables, conn := w.shared(t), w.connect(t)
	if len(tables) < 7 {
		t.Fatalf("tables of tenants: %v", tables)
	}
	delete(tables, "published_sets") // which only the platform's transactions read (db.TestTenantSeesAndChangesOnlyItsOwn)
	count := func(role string, scope any, table, column string, of uuid.UUID) (n int) {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(t.Context())
		if _, err := tx.Exec(t.Context(), "SELECT set_config('role', $1, true), set_config('keyward.tenant_id', $2, true)", role, fmt.Sprint(scope)); err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRow(t.Context(), fmt.Sprintf("SELECT count(*) FROM %s WHERE %s = $1", table, column), of).Scan(&n); err != nil {
			t.Errorf("%s as %s: %v", table, role, err)
		}
		return n
	}
	for table, column := range tables {
		if n := count("keyward_platform", "", table, column, b); n == 0 {
			t.Errorf("%s: nothing to hide", table)
		}
		if n := count("keyward_app", a, table, column, a); n == 0 {
			t.Errorf("%s: a tenant does not see its own rows", table)
		}
		for role, scope := range map[string]any{"keyward_app": a, "keyward_owner": a} {
			if n := count(role, scope, table, column, b); n != 0 {
				t.Errorf("%s: %s of a sees %d rows of b", table, role, n)
			}
			if n := count(role, "", table, column, b); n != 0 {
				t.Errorf("%s: %s of nobody sees %d rows of b", table, role, n)
			}
		}
	}
}

// The same through the door and the queries of the program, which name the
// other tenant.
func TestDoorIsNotFooledByArguments(t *testing.T) {
	w := newWorld(t)
	a, b := w.populate(t, "a"), w.populate(t, "b")
	keys, _, err := w.ListAPIKeys(t.Context(), &b, 0, "")
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v, %v", keys, err)
	}
	inA := func(name string, fn func(*db.Tx) (rows int, err error)) {
		rows := 0
		err := w.db.InTenant(t.Context(), a, func(tx *db.Tx) (err error) { rows, err = fn(tx); return err })
		if rows != 0 || err != nil && !errors.Is(err, db.ErrNoRows) {
			t.Errorf("%s: %d rows, %v", name, rows, err)
		}
	}
	one := func(_ any, err error) (int, error) {
		if err == nil {
			return 1, nil
		}
		return 0, err
	}
	ctx := t.Context()
	inA("GetTenant", func(tx *db.Tx) (int, error) { return one(tx.GetTenant(ctx, b)) })
	inA("LockTenant", func(tx *db.Tx) (int, error) { return one(tx.LockTenant(ctx, b)) })
	inA("LiveTenantID", func(tx *db.Tx) (int, error) { return one(tx.LiveTenantID(ctx, "b")) })
	inA("ListPolicies", func(tx *db.Tx) (int, error) { r, err := tx.ListPolicies(ctx, b); return len(r), err })
	inA("AuditChain", func(tx *db.Tx) (int, error) { r, err := tx.AuditChain(ctx, b, 0, 9); return len(r), err })
	inA("GetAPIKey", func(tx *db.Tx) (int, error) { return one(tx.GetAPIKey(ctx, &b, keys[0].ID)) })
	inA("GetCredential", func(tx *db.Tx) (int, error) { return one(tx.GetCredential(ctx, keys[0].ID)) })
	inA("GetKey", func(tx *db.Tx) (int, error) { return one(tx.GetKey(ctx, b, "kid")) })
	inA("GetIdempotencyKey", func(tx *db.Tx) (int, error) {
		return one(tx.GetIdempotencyKey(ctx, db.GetIdempotencyKeyParams{TenantID: b, CredentialID: "c", Key: "k"}))
	})
	inA("MoveAuditHeads", func(tx *db.Tx) (int, error) {
		n, err := tx.MoveAuditHeads(ctx, db.MoveAuditHeadsParams{
			TenantIds: []uuid.UUID{b}, OldSeqs: []int64{2}, Seqs: []int64{3}, Hashes: [][]byte{make([]byte, 32)},
		})
		return int(n), err
	})
	inA("RevokeAPIKeysByID", func(tx *db.Tx) (int, error) {
		n, err := tx.RevokeAPIKeysByID(ctx, &noon, []uuid.UUID{keys[0].ID})
		return int(n), err
	})

	_, events := audit.Chain(audit.Genesis(b), []audit.Event{somebody.Event(noon, audit.AuthorizationDenied)})
	err = w.db.InTenant(ctx, a, func(tx *db.Tx) error {
		return tx.InsertAuditEvents(ctx, db.InsertAuditEventsParams(audit.ToColumns(events)))
	})
	if err == nil {
		t.Error("a wrote an audit event of b")
	}
	if got := w.events(t, b); len(got) != 2 {
		t.Errorf("b's history: %v", actions(got))
	}
}
