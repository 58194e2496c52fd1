package db

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ServingRoles are the roles that a serving login takes.
var ServingRoles = []string{"keyward_public", "keyward_app", "keyward_platform"}

// Session describes a connection as PostgreSQL sees it.
type Session struct {
	Login          string
	Database       string
	Superuser      bool
	Recovery       bool // a standby, or a server that is still restoring
	ReadOnly       bool
	ReadOnlySource string // of default_transaction_read_only, as in pg_settings
	EscapeStrings  bool   // standard_conforming_strings is off
	EscapeSource   string
	Encrypted      bool
	SameMachine    bool
	MaxConnections int32 // for logins that are no superusers
}

// Session describes a connection of the pool. It needs no privilege. Errors:
// ErrUnavailable.
func (d *DB) Session(ctx context.Context) (Session, error) {
	rows, err := d.pool.Query(ctx, `
		SELECT session_user::text, current_database()::text,
			COALESCE((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user), false),
			pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
			(SELECT source FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'),
			current_setting('standard_conforming_strings') = 'off',
			(SELECT source FROM pg_catalog.pg_settings WHERE name = 'standard_conforming_strings'),
			COALESCE((SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid()), false),
			COALESCE(inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() = '::1' OR inet_client_addr() = inet_server_addr(), true),
			(current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer)`)
	if err != nil {
		return Session{}, markUnavailable(err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Session])
	return s, markUnavailable(err)
}

// Writable returns an error if the database accepts no writes: a standby, or one
// that is set to read-only. Errors: ErrReadOnly, ErrUnavailable.
func (d *DB) Writable(ctx context.Context) error {
	var refuses bool
	err := d.retryOnce(ctx, func() error {
		return d.pool.QueryRow(ctx, "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'").Scan(&refuses)
	})
	if err == nil && refuses {
		return ErrReadOnly
	}
	return markUnavailable(err)
}

// TryRole takes a role in a transaction that is rolled back. The error is
// PostgreSQL's.
func (d *DB) TryRole(ctx context.Context, role string) error {
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return markUnavailable(err)
	}
	defer rollBack(ctx, tx)
	_, err = tx.Exec(ctx, "SET LOCAL ROLE "+pgx.Identifier{role}.Sanitize())
	return markUnavailable(err)
}

// probeBytes is more than a table has free by chance, so that a full disk shows.
const probeBytes = 256 << 10

var errUndo = errors.New("db: roll back")

// TryWrite writes a row and rolls it back. Errors: ErrReadOnly, ErrDiskFull,
// ErrUnavailable, or PostgreSQL's refusal.
func (d *DB) TryWrite(ctx context.Context) error {
	random := make([]byte, probeBytes/2)
	_, _ = rand.Read(random) // never fails; PostgreSQL cannot compress it
	err := d.AsPlatform(ctx, func(tx *Tx) error {
		if _, err := tx.AcquireLease(ctx, "doctor", hex.EncodeToString(random), 1); err != nil {
			return err
		}
		return errUndo
	})
	var refused *pgconn.PgError
	switch {
	case errors.Is(err, errUndo):
		return nil
	case !errors.As(err, &refused):
		return err
	case refused.Code == "25006":
		return ErrReadOnly
	case refused.Code == "53100":
		return ErrDiskFull
	}
	return err
}
