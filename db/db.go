// Package db connects to PostgreSQL: generated queries, a private connection pool,
// and the doors, functions that run a transaction under a role. It is internal to
// Keyward: no compatibility promise.
//
// It guarantees that no statement runs without a role and, for the role of one
// tenant, without the tenant's id: both are set in the round trip that begins the
// transaction and end with it, so a forgotten WHERE returns nothing instead of
// another tenant's rows. Between transactions a connection has the role with the
// fewest privileges. It trusts the migrations to create the roles and the row level
// security (migrations/00010_row_security.sql).
package db

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config is the configuration of a DB.
type Config struct {
	URL      string // as pgx understands it: a URL or keyword=value pairs
	MaxConns int32  // of each pool; 0: pgx's default, the larger of 4 and the number of CPUs
	Pooled   bool   // URL leads through a transaction pooler, where prepared statements get lost
	ReadURL  string // a streaming standby, for PublicTenantOfReplica; empty: none

	// Tracer observes statements; nil: none does.
	Tracer pgx.QueryTracer

	// Now is this process's clock, which is compared with the database's; nil:
	// time.Now.
	Now func() time.Time
}

// DB is a connection pool. Only its methods use the connections.
type DB struct {
	pool    *pgxpool.Pool
	reader  *pgxpool.Pool // nil without a standby
	standby *outageWatch  // of the reader; nil without one
	probe   *prober
	outages *outageWatch
	pooled  bool // a transaction pooler shares sessions: no session state is ours

	clock   clockMonitor
	repeats atomic.Int64

	checkRecovery atomic.Pointer[RecoveryCheck] // see TrustRecoveries
}

// Open returns a DB, which connects when it is first used. The caller must Close
// it. The error describes the fault of the URL and never contains its
// password.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	pool, err := newPool(ctx, cfg.URL, cfg)
	if err != nil {
		return nil, err
	}
	d := &DB{pool: pool, pooled: cfg.Pooled, probe: newProber(pool.Config().ConnConfig), clock: clockMonitor{now: readClocks(cfg.Now)}}
	d.outages = newOutageWatch(pool.Config().ConnConfig, pool.Reset) // its idle connections may lead nowhere
	if cfg.ReadURL == "" {
		return d, nil
	}
	if d.reader, err = newPool(ctx, cfg.ReadURL, cfg); err != nil {
		pool.Close()
		return nil, err
	}
	d.standby = newOutageWatch(d.reader.Config().ConnConfig, d.reader.Reset)
	return d, nil
}

// describedQueries returns the size of a connection's second cache of statements, which
// only one mode uses and which is allocated ahead.
func describedQueries(mode pgx.QueryExecMode) int {
	if mode == pgx.QueryExecModeCacheDescribe {
		return 512
	}
	return 0
}

// poolConnectTimeout bounds an attempt to connect, unless the URL says otherwise.
const poolConnectTimeout = 5 * time.Second

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
	pc.ConnConfig.Tracer = cfg.Tracer
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = poolConnectTimeout
	}
	watchPeer(pc.ConnConfig)
	pc.ConnConfig.DescriptionCacheCapacity = describedQueries(pc.ConnConfig.DefaultQueryExecMode)
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("db: %w", err)
	}
	return pool, nil
}

// enterPublic gives a new connection the role that it has outside of transactions,
// and has PostgreSQL notice within seconds that this machine is gone, so that it ends
// the transaction and frees its locks. A refusal (the roles do not exist before the
// first migration) is ignored: the doors set their roles again and report it.
func enterPublic(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, keepAlive+"; set role keyward_public")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.SeverityUnlocalized != "FATAL" {
		return nil
	}
	return err
}

// keepAlive makes PostgreSQL probe the other end of a silent connection after 5 s, and
// give it up when 3 probes, or data sent, stay unanswered. Settings of the session and
// not of the connection's start, which poolers refuse. A Unix socket ignores them.
const keepAlive = "set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3; set tcp_user_timeout = 10000"

// closeTimeout bounds how long Close waits for PostgreSQL, which may hang.
const closeTimeout = 5 * time.Second

// Close waits for running transactions, at most closeTimeout, and closes every connection.
func (d *DB) Close() {
	d.outages.close()
	if d.standby != nil {
		d.standby.close()
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		d.probe.close()
		d.pool.Close()
		if d.reader != nil {
			d.reader.Close()
		}
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
	}
}

// Ping checks that PostgreSQL answers. Errors: ErrUnavailable.
func (d *DB) Ping(ctx context.Context) error { return markUnavailable(d.pool.Ping(ctx)) }

// Stat returns the number of connections in use and in the pool.
func (d *DB) Stat() (inUse, total int32) {
	s := d.pool.Stat()
	return s.AcquiredConns(), s.TotalConns()
}

// Waits returns how often a caller waited for a connection because all were in use,
// and for how long altogether, since the pool was opened.
func (d *DB) Waits() (count int64, waited time.Duration) {
	s := d.pool.Stat()
	return s.EmptyAcquireCount(), s.EmptyAcquireWaitTime()
}

// MaxConns returns the largest number of connections of the pool.
func (d *DB) MaxConns() int32 { return d.pool.Config().MaxConns }

// Acquired returns how often a connection was taken from the pool, which every
// transaction and every statement outside of one does once.
func (d *DB) Acquired() int64 { return d.pool.Stat().AcquireCount() }

// Tx is a transaction begun by a door. It ends when the function passed to the
// door returns.
type Tx struct {
	*Queries
	tx      session
	clock   *clockMonitor
	changes bool // something was written, or queued to be

	checkRecovery *atomic.Pointer[RecoveryCheck]
}

// Changing marks the transaction as a change for [WithChange], for statements that are
// not queued.
func (t *Tx) Changing() { t.changes = true }

// session is a running transaction.
type session interface {
	DBTX
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
	Commit(context.Context) error
	Rollback(context.Context) error
}

// transactionSettings bound each transaction and are set with its role. A process that
// stops in the middle of a transaction holds its locks until the third of them. The last
// is for the bodies of triggers, which PostgreSQL parses by the setting of the session: a
// login or a database may have the old one, with which a backslash escapes.
const transactionSettings = "set_config('lock_timeout', '10s', true), set_config('statement_timeout', '60s', true), " +
	"set_config('idle_in_transaction_session_timeout', '5s', true), set_config('standard_conforming_strings', 'on', true)"

// InTenant runs fn in a transaction that sees and changes one tenant's rows.
// It commits if fn returns nil. fn runs again from its beginning, in a new
// transaction, if PostgreSQL rolled the first back for a deadlock or because its time
// of effect had passed. Errors: fn's, or ErrUnavailable.
func (d *DB) InTenant(ctx context.Context, tenantID uuid.UUID, fn func(*Tx) error) error {
	return d.runTx(ctx, "keyward_app", tenantID.String(), fn)
}

// AsPlatform runs fn in a transaction that sees and changes every tenant's
// rows: for the worker and for requests of the platform. fn is as for InTenant.
func (d *DB) AsPlatform(ctx context.Context, fn func(*Tx) error) error {
	return d.runTx(ctx, "keyward_platform", "", fn)
}

// runTx runs fn in a transaction under a role. A crash before COMMIT reaches
// PostgreSQL leaves nothing; a crash before its answer arrives leaves everything,
// and the caller cannot distinguish them: operations must be safe to repeat.
func (d *DB) runTx(ctx context.Context, role, tenant string, fn func(*Tx) error) error {
	if c := changeOf(ctx); c.holds() {
		return c.join(ctx, role, tenant, fn)
	}
	return d.repeat(ctx, func() error {
		var tx *begun
		err := d.retryOnce(ctx, func() (err error) {
			tx, err = d.beginAs(ctx, role, tenant)
			return err
		})
		if err != nil {
			return err
		}
		defer rollBack(ctx, tx)
		t := d.newTx(tx)
		if err := fn(t); err != nil {
			return err
		}
		return d.finish(ctx, tx, t)
	})
}

// newTx returns the transaction that fn of a door gets.
func (d *DB) newTx(tx session) *Tx {
	return &Tx{Queries: New(tx), tx: tx, clock: &d.clock, checkRecovery: &d.checkRecovery}
}

// beginAs begins a transaction under a role and compares the clocks.
func (d *DB) beginAs(ctx context.Context, role, tenant string) (*begun, error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	tx, began := &begun{Conn: conn, role: role, tenant: tenant}, d.clock.now()
	results, err := conn.Conn().PgConn().Exec(ctx, "begin; select set_config('role', '"+role+"', true), set_config('keyward.tenant_id', '"+tenant+"', true), "+
		transactionSettings+", "+databaseTime).ReadAll()
	if err != nil {
		rollBack(ctx, tx)
		return nil, err
	}
	row := results[len(results)-1].Rows[0]
	micros, err := strconv.ParseInt(string(row[len(row)-1]), 10, 64)
	if err != nil {
		rollBack(ctx, tx)
		return nil, err
	}
	d.clock.measured(began, micros)
	return tx, nil
}

// retryOnce calls do, once no outage is known, and again if its connection had ended
// unnoticed, as all do when PostgreSQL restarts. do must be safe to repeat.
func (d *DB) retryOnce(ctx context.Context, do func() error) (err error) {
	if err := d.awaitOutageEnd(ctx); err != nil {
		return err
	}
	slow := time.AfterFunc(suspicious, d.suspectOutage)
	defer func() {
		slow.Stop()
		if isLost(err) {
			d.suspectOutage()
		}
	}()
	err = do()
	var connect *pgconn.ConnectError
	if err == nil || !isUnavailable(err) || errors.As(err, &connect) || errors.Is(err, context.DeadlineExceeded) || isLockTimeout(err) {
		return err
	}
	d.pool.Reset()
	return do()
}

// rollBack returns the connection to the pool, also when ctx has ended. After a
// commit it does nothing; if it fails the connection is closed.
func rollBack(ctx context.Context, tx interface{ Rollback(context.Context) error }) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = tx.Rollback(ctx)
}
