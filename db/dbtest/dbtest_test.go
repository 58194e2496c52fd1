//go:build unix

package dbtest

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/migrations"
)

func ask(t *testing.T, url, sql string, args ...any) (got string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&got); err != nil {
		t.Fatal(err)
	}
	return got
}

const tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'"

func TestNewIsMigratedAndPrivate(t *testing.T) {
	a, b := New(t), New(t)
	if got := ask(t, a, tables); got == "0" {
		t.Error("no tables in a migrated database")
	}
	Exec(t, a, "CREATE TABLE mine (); CREATE TABLE also_mine ()")
	if got := ask(t, b, "SELECT coalesce(to_regclass('mine')::text, 'unseen')"); got != "unseen" {
		t.Errorf("another test's table is seen: %s", got)
	}
}

func TestEmpty(t *testing.T) {
	if got := ask(t, Empty(t), tables); got != "0" {
		t.Errorf("%s tables in an empty database", got)
	}
}

func TestDroppedAtTheEnd(t *testing.T) {
	var name string
	t.Run("user", func(t *testing.T) {
		url := New(t)
		name = ask(t, url, "SELECT current_database()")
		if _, err := pgx.Connect(t.Context(), url); err != nil { // and left open
			t.Fatal(err)
		}
	})
	if got := ask(t, Empty(t), "SELECT count(*)::text FROM pg_database WHERE datname = $1", name); got != "0" {
		t.Errorf("%s is still there", name)
	}
}

func TestParallel(t *testing.T) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			Exec(t, New(t), "CREATE TABLE mine ()")
		})
	}
}

// Several processes make the template on a server they share: one of them
// does, and what is left of one that died doing it is in nobody's way.
func TestTemplateIsMadeOnce(t *testing.T) {
	s := NewServer(t)
	admin := withDatabase(s.DSN(), "postgres")
	sum, err := hashOf(migrations.FS)
	if err != nil {
		t.Fatal(err)
	}
	Exec(t, admin, "CREATE DATABASE keyward_template_"+sum+"_draft")
	var wg sync.WaitGroup
	names := make([]string, 4)
	for i := range names {
		wg.Go(func() {
			name, err := makeTemplate(t.Context(), admin)
			if err != nil {
				t.Error(err)
			}
			names[i] = name
		})
	}
	wg.Wait()
	for _, name := range names {
		if name != names[0] {
			t.Errorf("templates %v, want one", names)
		}
	}
	const query = "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'keyward_template%'"
	if got := ask(t, admin, query); got != names[0] {
		t.Errorf("databases %s, want %s", got, names[0])
	}
}

func TestWithDatabase(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u:p@h:1/old?sslmode=disable":  "postgres://u:p@h:1/new?sslmode=disable",
		"postgres://u@/old?host=/a%20b&port=5432": "postgres://u@/new?host=/a%20b&port=5432",
		"postgresql://h": "postgresql://h/new",
		"host=/run/postgresql user=postgres dbname=old ": "host=/run/postgresql user=postgres dbname=old  dbname=new",
	} {
		got := withDatabase(dsn, "new")
		if got != want {
			t.Errorf("withDatabase(%q) = %q, want %q", dsn, got, want)
		}
		cfg, err := pgx.ParseConfig(got)
		if err != nil || cfg.Database != "new" {
			t.Errorf("pgx reads %q as database %q, %v", got, cfg.Database, err)
		}
	}
}

func TestUnknownWay(t *testing.T) {
	t.Setenv(wayVar, "magic")
	if _, err := findServer(t.Context()); err == nil || !strings.Contains(err.Error(), "url, docker or embedded") {
		t.Errorf("find = %v, want what %s accepts", err, wayVar)
	}
	t.Setenv(wayVar, "url")
	t.Setenv(urlVar, "")
	if _, err := findServer(t.Context()); err == nil || !strings.Contains(err.Error(), urlVar) {
		t.Errorf("find = %v, want one that names %s", err, urlVar)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(victimVar) != "" {
		victim()
		return
	}
	os.Exit(m.Run())
}
