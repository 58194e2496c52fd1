// Package embedded runs a private PostgreSQL server from the binaries that are
// already on the machine, for `keyward dev` and for tests. It is internal to
// Keyward: no compatibility promise.
//
// It guarantees that one directory is one cluster with at most one server; that
// the cluster survives whatever ends the server or this process, and is found
// again; that nobody but the user who runs it (and root) can connect, because
// it listens on a socket in a private directory and nowhere else; and that on
// Linux the server ends when this process does, even by SIGKILL. PostgreSQL
// refuses to run as root, so under root it runs as another user.
//
// It trusts every process of the user that runs it: there is no password.
// This is not how Keyward is meant to be run in production.
package embedded

import (
	"errors"
	"log/slog"
)

var (
	// ErrNoBinaries means that no PostgreSQL server was found on this machine.
	// The error that wraps it says how to install one.
	ErrNoBinaries = errors.New("no PostgreSQL server on this machine")
	// ErrInUse means that another process runs the cluster in that directory.
	ErrInUse = errors.New("the PostgreSQL cluster is in use by another process")
	// ErrVersion means that a cluster was made by a major version of PostgreSQL
	// of which there are no binaries here.
	ErrVersion = errors.New("no PostgreSQL of the cluster's major version")
	// ErrUnreachable means that the user who has to run PostgreSQL cannot reach
	// an existing cluster's directory.
	ErrUnreachable = errors.New("the PostgreSQL cluster is out of its user's reach")
)

// Config says where a cluster is and how its server is run.
type Config struct {
	// Dir is the cluster's directory, and nothing else's. It is created when
	// missing. Under root it is given to the user PostgreSQL runs as; when that
	// user cannot get there, the cluster is put below /var/lib/keyward and a
	// file named "location" in Dir tells where.
	Dir string
	// BinDir holds postgres, initdb and pg_ctl. Empty: $KEYWARD_PG_BIN, else
	// the newest of the places where systems install PostgreSQL, else $PATH.
	BinDir string
	// Parameters are server settings, as in postgresql.conf. Nil means
	// PostgreSQL's defaults, which are durable.
	Parameters map[string]string
	// Follow makes a missing cluster a standby of the server at this URL, which
	// trusts the user postgres to replicate. Empty: a cluster of its own.
	Follow string
	// Log receives messages about the cluster; nil discards them. The server
	// writes its own log to the file postgres.log beside the cluster.
	Log *slog.Logger
}
