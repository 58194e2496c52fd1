package db

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// SharesSessions reports whether a URL leads through a transaction pooler, which
// gives one session of PostgreSQL to several connections in turn. LISTEN may seem
// to work through one under low load. True is certain; false is the result for
// PostgreSQL itself, for a session pooler and, rarely, for a transaction pooler.
// Errors: ErrUnavailable.
func SharesSessions(ctx context.Context, url string) (shared bool, err error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return false, err
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // prepares nothing in a session that may be another's
	var conns [2]*pgx.Conn
	for i := range conns {
		if conns[i], err = pgx.ConnectConfig(ctx, cfg); err != nil {
			return false, markUnavailable(err)
		}
		defer conns[i].Close(context.WithoutCancel(ctx))
	}
	for i := 0; i < 5 && err == nil && !shared; i++ {
		shared, err = shareSession(ctx, conns[0], conns[1])
	}
	return shared, markUnavailable(err)
}

// shareSession reports whether b is given the session that a has just used, or a
// is given another one while b keeps its own in a transaction.
func shareSession(ctx context.Context, a, b *pgx.Conn) (bool, error) {
	before, err := backendPID(ctx, a)
	if err != nil {
		return false, err
	}
	if _, err := b.Exec(ctx, "begin"); err != nil {
		return false, err
	}
	defer func() { _, _ = b.Exec(ctx, "rollback") }()
	kept, err := backendPID(ctx, b)
	if err != nil {
		return false, err
	}
	after, err := backendPID(ctx, a)
	return kept == before || after != before, err
}

// backendPID returns the process id of a connection's session.
func backendPID(ctx context.Context, conn *pgx.Conn) (pid int, err error) {
	err = conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
	return pid, err
}
