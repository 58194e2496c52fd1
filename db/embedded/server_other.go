//go:build !unix

package embedded

import (
	"context"
	"fmt"
	"runtime"
)

// Server is a running PostgreSQL server. On this system there is none.
type Server struct{}

// Start returns an error that wraps ErrNoBinaries: keeping a server private and
// ending it with its parent needs Unix.
func Start(context.Context, Config) (*Server, error) {
	return nil, fmt.Errorf("embedded: %w: Keyward starts no PostgreSQL of its own on %s.\n"+
		"Set KEYWARD_DATABASE_URL=postgres://user:password@host/database", ErrNoBinaries, runtime.GOOS)
}

// DSN is empty.
func (*Server) DSN() string { return "" }

// PID is 0.
func (*Server) PID() int { return 0 }

// Dir is empty.
func (*Server) Dir() string { return "" }

// Done is never closed.
func (*Server) Done() <-chan struct{} { return nil }

// Err is nil.
func (*Server) Err() error { return nil }

// Stop does nothing.
func (*Server) Stop(context.Context) error { return nil }

// Destroy does nothing.
func (*Server) Destroy(context.Context) error { return nil }
