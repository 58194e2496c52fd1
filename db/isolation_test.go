package db_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// owned are the tables with rows of tenants, and the column that says whose.
var owned = map[string]string{
	"tenants": "id", "policies": "tenant_id", "keys": "tenant_id", "data_keys": "tenant_id", "audit_events": "tenant_id",
	"api_keys": "tenant_id", "idempotency_keys": "tenant_id", "webhooks": "tenant_id", "webhook_deliveries": "tenant_id", "approvals": "tenant_id",
	"domains": "tenant_id", "jwks_clients": "tenant_id", "published_sets": "tenant_id", "workload_identities": "tenant_id",
}

// ofThePlatform are those of which a tenant's transaction reads nothing, not its own either.
var ofThePlatform = []string{"published_sets"}

// shared are the others, which no tenant has anything to do with.
var shared = []string{"master_keys", "leases", "console_sessions", "recoveries", "processes", "publish_places", "checkpoint_places"}

var a, b = uuid.MustParse("0197aaaa-0000-7000-8000-000000000001"), uuid.MustParse("0197aaaa-0000-7000-8000-000000000002")

// open returns a pool on a new, seeded database.
func open(t *testing.T, conns int32) *db.DB {
	t.Helper()
	url := dbtest.New(t)
	seed(t, url)
	d, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: conns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// seed gives tenants a and b a row in every table.
func seed(t *testing.T, url string) {
	t.Helper()
	dbtest.Exec(t, url, `SET session_replication_role = replica;
		INSERT INTO master_keys (id, uri, version, is_current, key_check, authority, created_at) VALUES (gen_random_uuid(), 'file:x', '1', true, 'c', 'a', now());
		INSERT INTO processes (id, name, kind, version, address, master_keys, clock_offset_microseconds, confirmed_until, heard_at) VALUES (gen_random_uuid(), 'p', 'serve', '', '', '{}', 0, now(), now() - interval '1 hour');
		INSERT INTO leases (name, holder, term, expires_at) VALUES ('l', 'h', 1, now())`)
	for slug, id := range map[string]uuid.UUID{"a": a, "b": b} {
		dbtest.Exec(t, url, fmt.Sprintf(`SET session_replication_role = replica;
			INSERT INTO tenants (id, slug, audit_seq, audit_hash, created_at, updated_at) VALUES ('%[1]s', '%[2]s', 1, sha256('1'), now(), now());
			INSERT INTO audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, details, prev_hash, hash)
				VALUES ('%[1]s', 1, now(), 'tenant.created', 'operator', '', '', '{}', sha256('0'), sha256('1'));
			INSERT INTO policies (tenant_id, alg, is_default, rotation_interval_seconds, publish_lead_seconds, grace_period_seconds,
				purge_after_seconds, default_token_ttl_seconds, max_token_ttl_seconds, max_published_keys, created_at, updated_at)
				VALUES ('%[1]s', 'ES256', true, 2592000, 86400, 604800, 7776000, 3600, 86400, 8, now(), now());
			INSERT INTO data_keys (tenant_id, version, is_current, wrapped, master_key_id, created_at)
				SELECT '%[1]s', 1, true, 'w', id, now() FROM master_keys;
			INSERT INTO keys (tenant_id, kid, alg, state, origin, public_jwk, sealed_private, data_key_version, created_at, published_at, state_event)
				VALUES ('%[1]s', 'kid', 'ES256', 'standby', 'generated', '{}', 'sealed', 1, now(), now(), 1);
			INSERT INTO api_keys (id, tenant_id, role, name, secret_hash, created_at) VALUES (gen_random_uuid(), '%[1]s', 'tenant_admin', '', sha256('s'), now());
			INSERT INTO workload_identities (tenant_id, id, name, issuer, audience, rules, role, max_token_lifetime_seconds, created_at, creator_type, creator_id, creator_name)
				VALUES ('%[1]s', '%[1]s', 'ci', 'https://ci.example', 'keyward', '[]', 'tenant_signer', 3600, now(), 'operator', '', '');
			INSERT INTO idempotency_keys (tenant_id, credential_id, key, request_hash, answer, created_at)
				VALUES ('%[1]s', 'c', 'k', 'h', sha256('a') || sha256('b'), now());
			INSERT INTO webhooks (tenant_id, id, of_all, url, actions, created_at, updated_at, place_seq) VALUES ('%[1]s', '%[1]s', false, 'u', '{}', now(), now(), 1);
			INSERT INTO published_sets (tenant_id, target, epoch, version, feed_xid, due_at, failures) VALUES ('%[1]s', 'file:///x', 0, 1, '1', now(), 0);
			INSERT INTO jwks_clients (tenant_id, client, set_at, seen_at) VALUES ('%[1]s', 1, now(), now());
			INSERT INTO domains (tenant_id, domain, token, created_at) VALUES ('%[1]s', 'id.example', repeat('t', 26), now());
			INSERT INTO approvals (tenant_id, id, operation, effects, operation_id, path, request_hash, requester_type, requester_id, requester_name, created_at, expires_at)
				VALUES ('%[1]s', '%[1]s', 'purge', '{purge}', 'purgeKeys', '/', sha256('r'), 'operator', '', '', now(), now() + interval '1 day');
			INSERT INTO webhook_deliveries (tenant_id, webhook_id, id, of_all, event_tenant_id, event_seq, action, asked_at, due_at, created_at)
				VALUES ('%[1]s', '%[1]s', gen_random_uuid(), false, '%[1]s', 1, 'tenant.created', now(), now(), now())`, id, slug))
	}
}

var errUndo = errors.New("undo")

// as runs fn in a role of a tenant, or of none, and takes it back.
func as(t *testing.T, d *db.DB, role, tenant string, fn func(db.DBTX) error) error {
	t.Helper()
	err := d.AsPlatform(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Raw().Exec(t.Context(), "SELECT set_config('role', 'none', true), set_config('role', $1, true), set_config('keyward.tenant_id', $2, true)", role, tenant)
		if err == nil {
			err = fn(tx.Raw())
		}
		return errors.Join(err, errUndo)
	})
	var pg *pgconn.PgError
	if err != nil && !errors.As(err, &pg) && err.Error() == errUndo.Error() {
		return nil
	}
	return err
}

func count(t *testing.T, d *db.DB, role, tenant, table, where string) (n int) {
	t.Helper()
	err := as(t, d, role, tenant, func(tx db.DBTX) error {
		return tx.QueryRow(t.Context(), "SELECT count(*) FROM "+table+" WHERE "+where).Scan(&n)
	})
	if err != nil {
		t.Errorf("%s as %s: %v", table, role, err)
	}
	return n
}

// denied demands SQLSTATE 42501, insufficient privilege, which a row that row
// security refuses is too.
func denied(t *testing.T, d *db.DB, role, tenant, sql string, args ...any) {
	t.Helper()
	err := as(t, d, role, tenant, func(tx db.DBTX) error {
		_, err := tx.Exec(t.Context(), sql, args...)
		return err
	})
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "42501" {
		t.Errorf("%s: %s: %v, want permission denied", role, sql, err)
	}
}

// The list above is all there is, so that a new table is not forgotten.
func TestEveryTableIsIsolatedOrShared(t *testing.T) {
	d := open(t, 1)
	rows, err := d.Pool().Query(t.Context(), "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
	if err != nil {
		t.Fatal(err)
	}
	var (
		table  string
		forced bool
	)
	_, err = pgx.ForEachRow(rows, []any{&table, &forced}, func() error {
		_, isOwned := owned[table]
		if isOwned != forced || !isOwned && !slices.Contains(shared, table) && table != "keyward_migrations" {
			t.Errorf("%s: row security forced is %v, known as a tenant's is %v", table, forced, isOwned)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Doctor names every table of tenants whose row level security is switched off, also one
// that later migrations add.
func TestUnguardedTablesAreNamed(t *testing.T) {
	url := dbtest.New(t)
	dbtest.Exec(t, url, "CREATE TABLE public.added (tenant_id uuid NOT NULL)")
	for table := range owned {
		dbtest.Exec(t, url, "ALTER TABLE public."+table+" NO FORCE ROW LEVEL SECURITY")
	}
	d, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	named := func() (names []string) {
		t.Helper()
		if err := d.AsPlatform(t.Context(), func(tx *db.Tx) (err error) {
			names, err = tx.UnguardedTables(t.Context())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return names
	}
	if names, want := named(), slices.Sorted(maps.Keys(owned)); !slices.Equal(names, slices.Sorted(slices.Values(append(want, "added")))) {
		t.Errorf("%v", names)
	}
	dbtest.Exec(t, url, "DROP TABLE public.added")
	for table := range owned {
		dbtest.Exec(t, url, "ALTER TABLE public."+table+" FORCE ROW LEVEL SECURITY")
	}
	dbtest.Exec(t, url, "ALTER TABLE public.domains DISABLE ROW LEVEL SECURITY")
	if names := named(); !slices.Equal(names, []string{"domains"}) {
		t.Errorf("%v", names)
	}
}

func TestTenantSeesAndChangesOnlyItsOwn(t *testing.T) {
	d := open(t, 2)
	for table, column := range owned {
		mine, theirs := column+" = '"+a.String()+"'", column+" = '"+b.String()+"'"
		if n := count(t, d, "keyward_platform", "", table, theirs); n != 1 {
			t.Errorf("%s: the platform sees %d rows of b", table, n)
		}
		if slices.Contains(ofThePlatform, table) {
			denied(t, d, "keyward_app", a.String(), "SELECT FROM "+table)
			denied(t, d, "keyward_app", a.String(), "UPDATE "+table+" SET "+column+" = "+column)
			insertOfAnother(t, d, table, theirs)
			continue
		}
		if n := count(t, d, "keyward_app", a.String(), table, mine); n != 1 {
			t.Errorf("%s: a sees %d of its own rows", table, n)
		}
		for _, c := range []struct{ role, tenant, where string }{
			{"keyward_app", a.String(), theirs},
			{"keyward_app", "", "true"},
			{"keyward_app", uuid.Nil.String(), "true"},
			{"keyward_owner", a.String(), "true"}, // FORCE: even the owner of the table
			{"keyward_owner", "", "true"},
		} {
			if n := count(t, d, c.role, c.tenant, table, c.where); n != 0 {
				t.Errorf("%s: %s of %q sees %d rows where %s", table, c.role, c.tenant, n, c.where)
			}
		}
		changeOfAnother(t, d, table, column)
		insertOfAnother(t, d, table, theirs)
	}
}

// changeOfAnother: no row of b is found to change; a table that a tenant may
// not change at all says so.
func changeOfAnother(t *testing.T, d *db.DB, table, column string) {
	t.Helper()
	if table == "data_keys" || table == "audit_events" || table == "idempotency_keys" || table == "domains" || table == "jwks_clients" {
		denied(t, d, "keyward_app", a.String(), "UPDATE "+table+" SET "+column+" = "+column)
		return
	}
	err := as(t, d, "keyward_app", a.String(), func(tx db.DBTX) error {
		tag, err := tx.Exec(t.Context(), "UPDATE "+table+" SET "+column+" = $1 WHERE "+column+" = $1", b)
		if tag.RowsAffected() != 0 {
			t.Errorf("%s: a changed %d rows of b", table, tag.RowsAffected())
		}
		return err
	})
	if err != nil {
		t.Errorf("%s: %v", table, err)
	}
}

// insertOfAnother gives b one more row that b itself could have.
func insertOfAnother(t *testing.T, d *db.DB, table, theirs string) {
	t.Helper()
	var row string
	err := as(t, d, "keyward_platform", "", func(tx db.DBTX) error {
		return tx.QueryRow(t.Context(), "SELECT row_to_json(r) FROM "+table+" r WHERE "+theirs).Scan(&row)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = as(t, d, "keyward_app", a.String(), func(tx db.DBTX) error {
		_, err := tx.Exec(t.Context(), "INSERT INTO "+table+" SELECT * FROM json_populate_record(NULL::"+table+", $1::json)", row)
		return err
	})
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "42501" && pg.ConstraintName != "audit_events_xid" {
		t.Errorf("%s: a inserted a row of b: %v", table, err)
	}
}

func TestPublicReadsNoSecrets(t *testing.T) {
	d := open(t, 2)
	for _, sql := range []string{
		"SELECT sealed_private FROM keys", "SELECT data_key_version FROM keys", "SELECT * FROM keys", "SELECT k FROM keys k",
		"SELECT 1 FROM keys WHERE sealed_private IS NOT NULL", "SELECT details FROM audit_events", "SELECT actor_id FROM audit_events",
		"SELECT audit_hash FROM tenants", "SELECT name FROM tenants", "SELECT 1 FROM data_keys", "SELECT 1 FROM api_keys",
		"SELECT 1 FROM idempotency_keys", "SELECT 1 FROM webhooks", "SELECT 1 FROM webhook_deliveries", "SELECT 1 FROM master_keys", "SELECT 1 FROM leases",
		"SELECT kid FROM keys FOR UPDATE", "SELECT jwks FROM tenants FOR UPDATE",
	} {
		denied(t, d, "keyward_public", a.String(), sql)
	}
	for _, table := range []string{"keys", "policies", "audit_events"} {
		for tenant, want := range map[string]int{a.String(): 1, "": 0} {
			if n := count(t, d, "keyward_public", tenant, table, "true"); n != want {
				t.Errorf("%s: the public of %q sees %d rows, want %d", table, tenant, n, want)
			}
		}
	}
}

// Rows are history: nobody who can log in may delete, and the public writes
// nothing at all. What a retry was promised is forgotten after a day, and what
// became of deliveries after a month; domains are removed; verifiers count for three days,
// and processes while they live.
func TestNobodyDeletes(t *testing.T) {
	forgotten := []string{"console_sessions", "idempotency_keys", "domains", "webhooks", "webhook_deliveries", "jwks_clients", "published_sets", "processes"}
	d := open(t, 2)
	tables := slices.Clone(shared)
	for table, column := range owned {
		tables = append(tables, table)
		denied(t, d, "keyward_public", a.String(), "UPDATE "+table+" SET "+column+" = "+column)
		denied(t, d, "keyward_public", a.String(), "INSERT INTO "+table+" DEFAULT VALUES")
	}
	for _, table := range tables {
		for _, role := range []string{"keyward_public", "keyward_app", "keyward_platform"} {
			if role != "keyward_platform" || !slices.Contains(forgotten, table) {
				denied(t, d, role, a.String(), "DELETE FROM "+table)
			}
			denied(t, d, role, a.String(), "TRUNCATE "+table+" CASCADE")
		}
	}
}
