//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// stopGrace is how long a server may take to end its sessions and write its
// last checkpoint before it is made to leave without one.
const stopGrace = 20 * time.Second

// Server is a running PostgreSQL server.
type Server struct {
	dsn  string
	home *home
	proc *process
	done chan struct{}
}

// Start runs the server of the cluster in cfg.Dir, which it makes first if
// there is none, and returns when it takes connections. A server left over
// from a crash is stopped first. ctx bounds the start, not the server's life.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	home, err := openHome(cfg)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	s, err := startAt(ctx, cfg, home)
	if err != nil {
		home.close()
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return s, nil
}

func startAt(ctx context.Context, cfg Config, home *home) (*Server, error) {
	bin, err := findBinaries(cfg.BinDir, home.majorVersion())
	if err != nil {
		return nil, err
	}
	c := cluster{home: home, bin: bin, params: cfg.Parameters, follow: cfg.Follow, log: cfg.Log}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	socket, err := home.openSocketDir()
	if err != nil {
		return nil, err
	}
	proc, err := c.startServer(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, home.logTail())
	}
	s := &Server{dsn: socketURL(socket), home: home, proc: proc, done: make(chan struct{})}
	go s.release()
	return s, nil
}

// release gives the directory back when the server has ended.
func (s *Server) release() {
	<-s.proc.done
	s.home.close()
	close(s.done)
}

// DSN is the URL of the database postgres, for its superuser. pgx and psql both
// take it. It can differ from one start of a cluster to the next.
func (s *Server) DSN() string { return s.dsn }

// Dir is where the cluster is: Config.Dir, or the place "location" there names.
func (s *Server) Dir() string { return s.home.dir }

// PID is the process id of the postmaster.
func (s *Server) PID() int { return s.proc.cmd.Process.Pid }

// Done is closed once the server has ended and its directory is free again.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says, after Done, how the server ended: nil if it was asked to.
func (s *Server) Err() error {
	<-s.done
	if s.proc.err == nil {
		return nil
	}
	return fmt.Errorf("embedded: PostgreSQL ended: %w%s", s.proc.err, s.home.logTail())
}

// Stop ends all sessions and the server. A server that takes longer than 20
// seconds, or than ctx, is stopped without its last checkpoint: nothing
// committed is lost. Stopping a server that has ended is no error.
func (s *Server) Stop(ctx context.Context) error {
	s.proc.stop(ctx)
	<-s.done
	return nil
}

// Destroy stops the server and deletes the cluster with all data.
func (s *Server) Destroy(ctx context.Context) error {
	return errors.Join(
		s.Stop(ctx),
		os.RemoveAll(s.home.dir),
		os.RemoveAll(filepath.Join(s.home.base, noteFile)),
	)
}
