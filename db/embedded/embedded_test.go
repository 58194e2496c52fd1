//go:build unix

package embedded_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/embedded"
)

// newDir names a directory that any user can reach, and that is not there yet.
func newDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "embedded-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	if err := os.Chmod(parent, 0o711); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(parent, "pg")
}

func start(t *testing.T, dir string) *embedded.Server {
	t.Helper()
	return startWith(t, dir, map[string]string{"fsync": "off"}) // only for speed
}

func startWith(t *testing.T, dir string, params map[string]string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, Parameters: params})
	if errors.Is(err, embedded.ErrNoBinaries) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

func stop(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func exec1(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, " ")
}

func TestRestartKeepsData(t *testing.T) {
	dir := newDir(t)
	s := start(t, dir)
	exec1(t, s.DSN(), "CREATE TABLE kept AS SELECT 'yes'::text AS answer")
	stop(t, s)
	if err := s.Err(); err != nil {
		t.Errorf("Err after Stop = %v, want nil", err)
	}
	s = start(t, dir)
	if got := exec1(t, s.DSN(), "SELECT answer FROM kept"); got != "yes" {
		t.Errorf("after a restart the table holds %q, want yes", got)
	}
}

func TestDurableByDefault(t *testing.T) {
	s := startWith(t, newDir(t), nil)
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		if got := exec1(t, s.DSN(), "SHOW "+name); got != "on" {
			t.Errorf("%s is %s", name, got)
		}
	}
}

func TestPrivate(t *testing.T) {
	s := start(t, newDir(t))
	if got := exec1(t, s.DSN(), "SHOW listen_addresses"); got != "" {
		t.Errorf("listens on %q", got)
	}
	for _, name := range []string{"data", "run"} {
		info, err := os.Stat(filepath.Join(s.Dir(), name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v, want 0700", name, info.Mode())
		}
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	dir := newDir(t)
	s := start(t, dir)
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	if !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("second Start = %v, want ErrInUse", err)
	}
	exec1(t, s.DSN(), "SELECT 'the first is unharmed'")
}

func TestKilledServerRecovers(t *testing.T) {
	dir := newDir(t)
	s := start(t, dir)
	exec1(t, s.DSN(), "CREATE TABLE kept AS SELECT 'yes'::text AS answer")
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if s.Err() == nil {
		t.Error("Err of a killed server = nil")
	}
	s = start(t, dir)
	if got := exec1(t, s.DSN(), "SELECT answer FROM kept"); got != "yes" {
		t.Errorf("after a crash the table holds %q, want yes", got)
	}
}

func TestAwkwardDirectories(t *testing.T) {
	for name, sub := range map[string]string{
		"long":    strings.Repeat("long/", 30),
		"space":   "with space + plus",
		"comma":   "a,b",
		"quote":   `a"b'c\d`,
		"percent": "50%25",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, filepath.Join(newDir(t), sub))
			exec1(t, s.DSN(), "SELECT 'here'")
		})
	}
}

func TestPsqlTakesTheDSN(t *testing.T) {
	s := start(t, filepath.Join(newDir(t), "with space"))
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("no psql here")
	}
	cmd := exec.Command(psql, "-X", "-Atc", "SELECT 6 * 7", s.DSN())
	cmd.Env = append(os.Environ(), "PGPORT=1", "PGUSER=nobody", "PGHOST=nowhere.invalid")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "42" {
		t.Errorf("psql = %s, %v, want 42", out, err)
	}
}

func TestParameters(t *testing.T) {
	s := startWith(t, newDir(t), map[string]string{
		"max_connections": "7", "superuser_reserved_connections": "1", "fsync": "off",
		"listen_addresses": "*", // not the caller's to choose
	})
	if got := exec1(t, s.DSN(), "SHOW max_connections"); got != "7" {
		t.Errorf("max_connections = %s, want 7", got)
	}
	if got := exec1(t, s.DSN(), "SHOW listen_addresses"); got != "" {
		t.Errorf("listens on %q", got)
	}
}
