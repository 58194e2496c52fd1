package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNotSuperuser is returned by Bulk to a login that may not pass the
// database's guards over.
var ErrNotSuperuser = errors.New("db: only a superuser can write in bulk")

// Bulk is a transaction that copies rows past row level security, foreign keys
// and triggers: for seeding a database that is measured, and for nothing else.
// CHECKs and unique indexes hold; for all the rest the caller vouches.
type Bulk struct {
	tx pgx.Tx
	// XID is the transaction's id, which the rejecting triggers would demand of
	// audit events.
	XID uint64
}

// Bulk runs fn in such a transaction and commits if it returns nil; a crash
// leaves nothing. Errors: fn's, ErrNotSuperuser, ErrUnavailable.
func (d *DB) Bulk(ctx context.Context, fn func(*Bulk) error) error {
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return wrap(err)
	}
	defer rollback(ctx, tx)
	b := &Bulk{tx: tx}
	const begin = "select set_config('role', (select reset_val from pg_settings where name = 'role'), true), set_config('session_replication_role', 'replica', true), " +
		"set_config('synchronous_commit', 'off', true), pg_current_xact_id()"
	if err := tx.QueryRow(ctx, begin).Scan(nil, nil, nil, &b.XID); err != nil {
		return notSuperuser(err)
	}
	if err := fn(b); err != nil {
		return wrap(err)
	}
	return wrap(tx.Commit(ctx))
}

func notSuperuser(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42501" { // insufficient_privilege
		return fmt.Errorf("%w: %w", ErrNotSuperuser, err)
	}
	return wrap(err)
}

// Copy writes rows into a table by COPY, the quickest way there is.
func (b *Bulk) Copy(ctx context.Context, table string, columns []string, rows [][]any) error {
	_, err := b.tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	if err != nil {
		return fmt.Errorf("db: copy into %s: %w", table, err)
	}
	return nil
}

// Settle lets PostgreSQL look at what was written in bulk, so that it plans
// queries by it and answers from indexes alone.
func (d *DB) Settle(ctx context.Context) error {
	pooled, err := d.pool.Acquire(ctx)
	if err != nil {
		return wrap(err)
	}
	conn := pooled.Hijack() // not to be used again without its role, and VACUUM runs in no transaction
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "reset role"); err != nil {
		return wrap(err)
	}
	_, err = conn.Exec(ctx, "vacuum (analyze) tenants, policies, data_keys, keys, audit_events")
	return wrap(err)
}
