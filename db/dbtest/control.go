//go:build unix

package dbtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
