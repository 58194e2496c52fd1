// Package dbtest gives every test its own PostgreSQL database. It is internal to
// Keyward: no compatibility promise.
//
// It guarantees that the database is a real one, freshly migrated, seen by no
// other test, and dropped when the test ends. One server serves all tests of a
// process and ends with the process, also when that is killed. The server is
//
//   - the one at $KEYWARD_TEST_DATABASE_URL (a superuser's URL), if set;
//   - else a container, if a Docker engine answers, from the image
//     $KEYWARD_TEST_POSTGRES_IMAGE, by default [DefaultImage];
//   - else a private cluster made with the binaries on this machine.
//
// $KEYWARD_TEST_POSTGRES set to url, docker or embedded allows only that one.
// With $KEYWARD_TEST_KEEP set, the database of a failed test is kept.
//
// It trusts the server with nothing that matters: tests run as superuser, and
// private servers do not write through to the disk.
package dbtest

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// New returns the URL of a new database with all migrations applied, for its
// superuser. The database is dropped when t ends.
func New(t testing.TB) string {
	t.Helper()
	s := sharedServer(t)
	template, err := s.template()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return s.cloneTemplate(t, template)
}

// Empty is New without the migrations.
func Empty(t testing.TB) string {
	t.Helper()
	return sharedServer(t).cloneTemplate(t, "template0")
}

// Exec runs one or more statements as superuser; more than one only without
// arguments. An error ends the test.
func Exec(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	ctx := context.Background() // also of use in a Cleanup
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
}

// server is a PostgreSQL server that tests share.
type server struct {
	url      string                 // a superuser's, to a database that always exists
	keep     func() string          // makes it outlive the process; says how to find it
	template func() (string, error) // the migrated database to clone
}

var shared = sync.OnceValues(func() (*server, error) {
	s, err := findServer(context.Background())
	if err != nil {
		return nil, err
	}
	s.template = sync.OnceValues(func() (string, error) {
		return makeTemplate(context.Background(), s.url)
	})
	return s, nil
})

func sharedServer(t testing.TB) *server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return s
}

// cloneTemplate clones template into a database that lives as long as t.
func (s *server) cloneTemplate(t testing.TB, template string) string {
	t.Helper()
	name := "keyward_test_" + strings.ToLower(rand.Text())
	Exec(t, s.url, "CREATE DATABASE "+name+" TEMPLATE "+template)
	url := withDatabase(s.url, name)
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("KEYWARD_TEST_KEEP") != "" {
			t.Logf("dbtest: kept database %s%s", url, s.keep())
			return
		}
		Exec(t, s.url, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	})
	return url
}
