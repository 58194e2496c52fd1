//go:build unix

package embedded_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keyward/keyward/db/embedded"
)

func write(t *testing.T, text string, path ...string) {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedInitIsRepeated(t *testing.T) {
	dir := newDir(t)
	write(t, "", dir, "lock")
	write(t, "15\n", dir, "data.init", "PG_VERSION")
	exec1(t, start(t, dir).DSN(), "SELECT 'made'")
}

func TestForeignProcessInPidFile(t *testing.T) {
	dir := newDir(t)
	s := start(t, dir)
	stop(t, s)
	write(t, fmt.Sprintln(os.Getpid()), s.Dir(), "data", "postmaster.pid")
	exec1(t, start(t, dir).DSN(), "SELECT 'started, and this process is unharmed'")
}

func TestDirectoryWithOtherThings(t *testing.T) {
	dir := newDir(t)
	write(t, "precious", dir, "thing")
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Start(t.Context(), embedded.Config{Dir: dir}); err == nil {
		t.Fatal("Start took a directory that holds other things")
	}
	after, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	is, was := after.Sys().(*syscall.Stat_t), before.Sys().(*syscall.Stat_t)
	if is.Uid != was.Uid || is.Mode != was.Mode || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the directory was changed: %+v, was %+v", is, was)
	}
}

func TestVersionPicksBinaries(t *testing.T) {
	dir := newDir(t)
	s := start(t, dir)
	stop(t, s)
	write(t, "9\n", s.Dir(), "data", "PG_VERSION")
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	if !errors.Is(err, embedded.ErrVersion) {
		t.Errorf("Start on a cluster of version 9 = %v, want ErrVersion", err)
	}
}

func TestNoBinaries(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("KEYWARD_PG_BIN", bin)
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: newDir(t)})
	if !errors.Is(err, embedded.ErrNoBinaries) || !strings.Contains(err.Error(), bin) {
		t.Errorf("Start without binaries = %v, want ErrNoBinaries naming %s", err, bin)
	}
}

// A parent nobody else can enter is what /root is to the user postgres.
func TestOutOfReach(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := newDir(t)
	if err := os.Chmod(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir)
	t.Cleanup(func() { os.RemoveAll(s.Dir()) })
	note, err := os.ReadFile(filepath.Join(dir, "location"))
	if err != nil || !strings.HasPrefix(string(note), s.Dir()+"\n") || s.Dir() == dir {
		t.Fatalf("cluster in %s, note %q, %v", s.Dir(), note, err)
	}
	exec1(t, s.DSN(), "CREATE TABLE kept AS SELECT 'yes'::text AS answer")
	stop(t, s)

	s = start(t, dir)
	if got := exec1(t, s.DSN(), "SELECT answer FROM kept"); got != "yes" {
		t.Errorf("after a restart the table holds %q, want yes", got)
	}
	if err := s.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cluster is still there: %v", err)
	}
	again := start(t, dir)
	t.Cleanup(func() { os.RemoveAll(again.Dir()) })
	if again.Dir() == s.Dir() {
		t.Errorf("a new cluster is where the old one was, %s", s.Dir())
	}
}

// A directory that becomes unreachable afterwards must not look like an empty
// one.
func TestMovedOutOfReach(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := newDir(t)
	stop(t, start(t, dir))
	if err := os.Chmod(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	if !errors.Is(err, embedded.ErrUnreachable) {
		t.Errorf("Start = %v, want ErrUnreachable", err)
	}
}
