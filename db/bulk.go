package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNotSuperuser is returned by Bulk if the login may not bypass the guards of the
// database.
var ErrNotSuperuser = errors.New("db: only a superuser can write in bulk")

// Bulk is a transaction that copies rows and bypasses row level security, foreign
// keys and triggers. Use it only to seed a database for measurements. CHECK
// constraints and unique indexes hold; the caller guarantees everything else.
type Bulk struct {
	tx pgx.Tx
	// XID is the transaction's id, which the triggers would require of audit
	// events.
	XID uint64
}

// Bulk runs fn in such a transaction and commits if it returns nil. A crash
// leaves nothing. Errors: fn's, ErrNotSuperuser, ErrUnavailable.
func (d *DB) Bulk(ctx context.Context, fn func(*Bulk) error) error {
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return markUnavailable(err)
	}
	defer rollBack(ctx, tx)
	b := &Bulk{tx: tx}
	const begin = "select set_config('role', (select reset_val from pg_settings where name = 'role'), true), set_config('session_replication_role', 'replica', true), " +
		"set_config('synchronous_commit', 'off', true), pg_current_xact_id()"
	if err := tx.QueryRow(ctx, begin).Scan(nil, nil, nil, &b.XID); err != nil {
		return markNotSuperuser(err)
	}
	if err := fn(b); err != nil {
		return markUnavailable(err)
	}
	return markUnavailable(tx.Commit(ctx))
}

// markNotSuperuser wraps err in ErrNotSuperuser if a privilege is missing.
func markNotSuperuser(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42501" { // insufficient_privilege
		return fmt.Errorf("%w: %w", ErrNotSuperuser, err)
	}
	return markUnavailable(err)
}

// Copy writes rows into a table with COPY.
func (b *Bulk) Copy(ctx context.Context, table string, columns []string, rows [][]any) error {
	_, err := b.tx.CopyFrom(ctx, pgx.Identifier{"public", table}, columns, pgx.CopyFromRows(rows))
	if err != nil {
		return fmt.Errorf("db: copy into %s: %w", table, err)
	}
	return nil
}

// Settle vacuums and analyzes the tables written in bulk, so that PostgreSQL has
// statistics for its plans and can answer from indexes alone.
func (d *DB) Settle(ctx context.Context) error {
	pooled, err := d.pool.Acquire(ctx)
	if err != nil {
		return markUnavailable(err)
	}
	conn := pooled.Hijack() // it loses its role, so the pool must not reuse it
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "reset role"); err != nil {
		return markUnavailable(err)
	}
	_, err = conn.Exec(ctx, "vacuum (analyze) public.tenants, public.policies, public.data_keys, public.keys, public.audit_events")
	return markUnavailable(err)
}
