// Package db is the way to PostgreSQL: generated queries, a pool nobody else
// holds, and the doors to a transaction.
//
// It guarantees that no statement runs without a role and, where the role is
// one tenant's, without that tenant's id: both are set in the round trip that
// begins the transaction and end with it, so a forgotten WHERE returns nothing
// instead of another tenant's rows. Between transactions a connection has the
// role that may do least. It trusts the migrations to have made the roles and
// the row level security (migrations/00010_row_security.sql).
package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says how to reach PostgreSQL.
type Config struct {
	URL      string // as pgx understands it: a URL or keyword=value pairs
	MaxConns int32  // of each pool; 0: pgx's default, the larger of 4 and the number of CPUs
	Pooled   bool   // URL leads through a transaction pooler, where prepared statements get lost
	ReadURL  string // a streaming standby, for PublicTenantOfReplica; empty: none
}

// DB is a pool of connections that can be used through its doors only.
type DB struct {
	pool   *pgxpool.Pool
	reader *pgxpool.Pool // nil without a standby
	pooled bool          // sessions are not ours, nor is what they were told before
}

// Open prepares a pool; it connects when it is first used. The error names
// what is wrong with the URL but never repeats its password.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	pool, err := newPool(ctx, cfg.URL, cfg)
	if err != nil {
		return nil, err
	}
	d := &DB{pool: pool, pooled: cfg.Pooled}
	if cfg.ReadURL == "" {
		return d, nil
	}
	if d.reader, err = newPool(ctx, cfg.ReadURL, cfg); err != nil {
		pool.Close()
		return nil, err
	}
	return d, nil
}

func newPool(ctx context.Context, url string, cfg Config) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("db: database URL: %w", err)
	}
	if cfg.MaxConns > 0 {
		pc.MaxConns = cfg.MaxConns
	}
	if cfg.Pooled && !strings.Contains(url, "default_query_exec_mode") {
		pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // without statements that a session keeps
	}
	pc.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		registerUUIDs(conn)
		if cfg.Pooled {
			return nil
		}
		return enterPublic(ctx, conn)
	}
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("db: %w", err)
	}
	return pool, nil
}

// enterPublic gives a new connection the role that it has outside of
// transactions. A database that refuses, because it has no roles before its
// first migration, is told on by the doors, which name their roles themselves.
func enterPublic(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "set role keyward_public")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.SeverityUnlocalized != "FATAL" {
		return nil
	}
	return err
}

// Close waits for transactions under way and closes every connection.
func (d *DB) Close() {
	d.pool.Close()
	if d.reader != nil {
		d.reader.Close()
	}
}

// Ping proves that PostgreSQL answers. Errors: ErrUnavailable.
func (d *DB) Ping(ctx context.Context) error { return wrap(d.pool.Ping(ctx)) }

// Stat reports connections in use and in the pool.
func (d *DB) Stat() (inUse, total int32) {
	s := d.pool.Stat()
	return s.AcquiredConns(), s.TotalConns()
}

// Tx is a transaction that went through a door. It ends when the function
// that was given to the door returns.
type Tx struct {
	*Queries
	tx session
}

// session is a transaction under way.
type session interface {
	DBTX
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
	Commit(context.Context) error
	Rollback(context.Context) error
}

// timeLimits of a transaction, beside its role.
const timeLimits = "set_config('lock_timeout', '10s', true), set_config('statement_timeout', '60s', true), " +
	"set_config('idle_in_transaction_session_timeout', '60s', true)"

// InTenant runs fn in a transaction that sees and changes one tenant's rows.
// It commits if fn returns nil. Errors: fn's, or ErrUnavailable.
func (d *DB) InTenant(ctx context.Context, tenantID uuid.UUID, fn func(*Tx) error) error {
	return d.within(ctx, "keyward_app", tenantID.String(), fn)
}

// AsPlatform runs fn in a transaction that sees and changes every tenant's
// rows: for the worker and for what only the platform may ask.
func (d *DB) AsPlatform(ctx context.Context, fn func(*Tx) error) error {
	return d.within(ctx, "keyward_platform", "", fn)
}

// within begins, enters the role and leaves again. A crash before COMMIT has
// reached PostgreSQL leaves nothing; one while its answer is under way leaves
// everything, and the caller cannot tell: operations must be safe to repeat.
func (d *DB) within(ctx context.Context, role, tenant string, fn func(*Tx) error) error {
	begin := "begin; select set_config('role', '" + role + "', true), set_config('keyward.tenant_id', '" + tenant + "', true), " + timeLimits
	var tx pgx.Tx
	err := d.healing(func() (err error) {
		tx, err = d.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
		return err
	})
	if err != nil {
		return wrap(err)
	}
	defer rollback(ctx, tx)
	if err := fn(&Tx{Queries: New(tx), tx: tx}); err != nil {
		return wrap(err)
	}
	return wrap(tx.Commit(ctx))
}

// healing does something that is safe to repeat once more if it met a
// connection that ended unnoticed, as all do when PostgreSQL restarts.
func (d *DB) healing(do func() error) error {
	err := do()
	var connect *pgconn.ConnectError
	if err == nil || !unavailable(err) || errors.As(err, &connect) || errors.Is(err, context.DeadlineExceeded) || inTheWay(err) {
		return err
	}
	d.pool.Reset()
	return do()
}

// rollback gives the connection back, also when the caller's context is over.
// After a commit it does nothing; after a failure the connection is closed.
func rollback(ctx context.Context, tx interface{ Rollback(context.Context) error }) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = tx.Rollback(ctx)
}
