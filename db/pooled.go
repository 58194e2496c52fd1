package db

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// SharesSessions reports whether a URL leads through a transaction pooler, which
// gives one session of PostgreSQL to several connections in turn. LISTEN may
// seem to work through one as long as hardly anybody else is there. True is
// certain; false is what PostgreSQL itself and a session pooler look like, and a
// transaction pooler with much luck. Errors: ErrUnavailable.
func SharesSessions(ctx context.Context, url string) (shared bool, err error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return false, err
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // prepares nothing in a session that may be another's
	var conns [2]*pgx.Conn
	for i := range conns {
		if conns[i], err = pgx.ConnectConfig(ctx, cfg); err != nil {
			return false, wrap(err)
		}
		defer conns[i].Close(context.WithoutCancel(ctx))
	}
	for i := 0; i < 5 && err == nil && !shared; i++ {
		shared, err = shareSession(ctx, conns[0], conns[1])
	}
	return shared, wrap(err)
}

// shareSession lets one connection keep the session that another has just used,
// if it gets it, and looks where the other goes then.
func shareSession(ctx context.Context, a, b *pgx.Conn) (bool, error) {
	before, err := backend(ctx, a)
	if err != nil {
		return false, err
	}
	if _, err := b.Exec(ctx, "begin"); err != nil {
		return false, err
	}
	defer func() { _, _ = b.Exec(ctx, "rollback") }()
	kept, err := backend(ctx, b)
	if err != nil {
		return false, err
	}
	after, err := backend(ctx, a)
	return kept == before || after != before, err
}

func backend(ctx context.Context, conn *pgx.Conn) (pid int, err error) {
	err = conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
	return pid, err
}
