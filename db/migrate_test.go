package db_test

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/migrations"
)

// A migration that needs a table which somebody reads for long, as a dump does, does not
// keep others from it, and is applied once the table is free.
func TestMigrationMakesNobodyWaitForLong(t *testing.T) {
	url := dbtest.Empty(t)
	if err := db.MigrateTo(t.Context(), url, 9); err != nil { // the next one alters every table
		t.Fatal(err)
	}
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	dump, other := connect(), connect()
	if _, err := dump.Exec(t.Context(), "BEGIN; LOCK TABLE public.tenants IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	go func() { migrated <- db.Migrate(context.WithoutCancel(t.Context()), url) }()
	for waits := 0; waits == 0; {
		if err := other.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'public.tenants'::regclass").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the dump goes on for longer
	defer cancel()
	var n int
	if err := other.QueryRow(ctx, "SELECT count(*) FROM public.tenants").Scan(&n); err != nil {
		t.Errorf("a reader behind the migration: %v", err)
	}
	if _, err := dump.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
}

// strongLocks are those that a migration takes on tables that are there before it, and with
// which the program before cannot write to them, or read them, until it commits. What is
// added here must be short however many rows the table has: no index, no CHECK or foreign key
// that is validated, no column that is filled. The foreign key of a new table and a trigger
// are short: they lock out writers (ShareRowExclusiveLock). These are of the first release.
var strongLocks = map[string][]string{
	"00003_policies.sql":  {"tenants ShareRowExclusiveLock"},
	"00004_custody.sql":   {"tenants ShareRowExclusiveLock"},
	"00005_audit.sql":     {"policies ShareRowExclusiveLock", "tenants ShareRowExclusiveLock"},
	"00006_keys.sql":      {"data_keys ShareRowExclusiveLock", "policies ShareRowExclusiveLock"},
	"00007_access.sql":    {"tenants ShareRowExclusiveLock"},
	"00008_approvals.sql": {"tenants ShareRowExclusiveLock"},
	"00009_webhooks.sql":  {"audit_events ShareRowExclusiveLock", "tenants ShareRowExclusiveLock"},
	"00010_row_security.sql": {
		"api_keys AccessExclusiveLock", "approvals AccessExclusiveLock", "audit_events AccessExclusiveLock", "data_keys AccessExclusiveLock", "domains AccessExclusiveLock",
		"idempotency_keys AccessExclusiveLock", "keys AccessExclusiveLock", "policies AccessExclusiveLock", "tenants AccessExclusiveLock", "webhook_deliveries AccessExclusiveLock", "webhooks AccessExclusiveLock",
	},
	"00011_console_sessions.sql":    {"api_keys ShareRowExclusiveLock", "tenants ShareRowExclusiveLock"},
	"00013_jwks_clients.sql":        {"tenants ShareRowExclusiveLock"},
	"00015_published_sets.sql":      {"tenants ShareRowExclusiveLock"},
	"00016_workload_identities.sql": {"tenants ShareRowExclusiveLock"},
}

// No migration rewrites a table that is there, and the locks that it takes on such tables are
// known.
func TestMigrationsLockLittle(t *testing.T) {
	url := dbtest.Empty(t)
	if err := db.MigrateTo(t.Context(), url, 1); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	list := func(sql string, args ...any) []string {
		t.Helper()
		rows, err := conn.Query(t.Context(), sql, args...)
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	const tables = "SELECT relname || ' ' || relfilenode FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1"
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names[1:] {
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		before := list(tables)
		if _, err := conn.Exec(t.Context(), "BEGIN;\n"+string(text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		locks := list(`SELECT relname || ' ' || mode FROM pg_locks JOIN pg_class ON pg_class.oid = relation WHERE pid = pg_backend_pid() AND relkind IN ('r', 'p')
			AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') ORDER BY 1`)
		after := list(tables)
		if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
			t.Fatal(err)
		}
		old := map[string]bool{}
		for _, table := range before {
			table, _, _ := strings.Cut(table, " ")
			old[table] = true
		}
		locks = slices.DeleteFunc(locks, func(l string) bool { table, _, _ := strings.Cut(l, " "); return !old[table] })
		if !slices.Equal(locks, strongLocks[name]) {
			t.Errorf("%s locks %q, want %q", name, locks, strongLocks[name])
		}
		for _, table := range before {
			if !slices.Contains(after, table) {
				t.Errorf("%s rewrites or drops %s", name, table)
			}
		}
	}
}
