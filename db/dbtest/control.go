//go:build unix

package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/embedded"
)

// Server is a PostgreSQL server for one test, which may stop and kill it. Its
// methods are for the test's own goroutine: they end the test on an error.
type Server struct {
	t      testing.TB
	dir    string
	follow string // the server that this one is a standby of

	mu  sync.Mutex // DSN is for all goroutines
	pg  *embedded.Server
	url string
}

// NewServer starts a private server with one migrated database. It ends with
// t. It is always made from the binaries on this machine; without them the
// test is skipped, unless KEYWARD_TEST_POSTGRES demands them.
func NewServer(t testing.TB) *Server {
	t.Helper()
	dir, err := clusterDir()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(dir)) })
	s := &Server{t: t, dir: dir}
	s.Start()
	if _, err := deleteAtExit(s.pg.Dir(), filepath.Dir(dir)); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() { s.pg.Destroy(context.Background()) })
	Exec(t, s.pg.DSN(), "CREATE DATABASE keyward")
	if err := db.Migrate(t.Context(), s.DSN()); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return s
}

// Replica starts a streaming standby of the server. It ends with the test.
func (s *Server) Replica() *Server {
	s.t.Helper()
	dir, err := clusterDir()
	if err != nil {
		s.t.Fatalf("dbtest: %v", err)
	}
	s.t.Cleanup(func() { os.RemoveAll(filepath.Dir(dir)) })
	r := &Server{t: s.t, dir: dir, follow: s.pg.DSN()}
	r.Start()
	if _, err := deleteAtExit(r.pg.Dir(), filepath.Dir(dir)); err != nil {
		s.t.Fatalf("dbtest: %v", err)
	}
	s.t.Cleanup(func() { r.pg.Destroy(context.Background()) })
	return r
}

// DSN is the URL of the migrated database, for its superuser. It stays the
// same.
func (s *Server) DSN() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// Start starts the server after Stop or Kill, and returns when it takes
// connections.
func (s *Server) Start() {
	s.t.Helper()
	pg, err := embedded.Start(s.t.Context(), embedded.Config{Dir: s.dir, Follow: s.follow, Parameters: quick})
	if errors.Is(err, embedded.ErrNoBinaries) && os.Getenv(wayVar) != "embedded" {
		s.t.Skipf("dbtest: %v", err)
	}
	if err != nil {
		s.t.Fatalf("dbtest: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pg, s.url = pg, withDatabase(pg.DSN(), "keyward")
}

// Stop ends all sessions and the server, in order: clients see SQLSTATE 57P01,
// and then no server.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.pg.Stop(s.t.Context()); err != nil {
		s.t.Fatalf("dbtest: %v", err)
	}
}

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Kill ends the server with SIGKILL: connections of clients break. Committed
// changes are there after Start.
func (s *Server) Kill() {
	s.t.Helper()
	if err := syscall.Kill(s.pg.PID(), syscall.SIGKILL); err != nil {
		s.t.Fatalf("dbtest: kill: %v", err)
	}
	<-s.pg.Done()
}

// Freeze stops every process of the server, as a hypervisor or a disk that hangs does:
// connections stay open, and nothing is answered. thaw lets it go on; it is called at the
// end of the test too, and by a helper if the test's process dies before. Skips the test
// where the processes of the server cannot be listed.
func (s *Server) Freeze() (thaw func()) {
	s.t.Helper()
	postmaster := s.pg.PID()
	_ = syscall.Kill(postmaster, syscall.SIGSTOP) // before its children, so that none is added
	pids := []string{strconv.Itoa(postmaster)}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", postmaster))
	if err != nil {
		_ = syscall.Kill(postmaster, syscall.SIGCONT)
		s.t.Skipf("dbtest: %v", err)
	}
	pids = append(pids, strings.Fields(string(children))...)
	end, err := atExit(`while read -r line; do :; done; kill -CONT "$@"`, pids...)
	if err != nil {
		_ = syscall.Kill(postmaster, syscall.SIGCONT)
		s.t.Fatalf("dbtest: %v", err)
	}
	for _, text := range pids[1:] {
		if pid, err := strconv.Atoi(text); err == nil {
			_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended
		}
	}
	thaw = sync.OnceFunc(end.now)
	s.t.Cleanup(thaw)
	return thaw
}

// Promote makes a standby a primary, as after point-in-time recovery.
func (s *Server) Promote() {
	s.t.Helper()
	Exec(s.t, s.DSN(), "SELECT pg_promote()")
}
