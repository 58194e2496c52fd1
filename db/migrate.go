package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/keyward/keyward/migrations"
)

// migrationsTable is the table in which goose records applied migrations.
const migrationsTable = "public.keyward_migrations"

// Migration is one step of the schema.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero: pending
}

// Migrate applies the pending migrations to the database at url. Concurrent calls
// wait for each other by a session lock, so url must not lead through a transaction
// pooler. A crash leaves only whole migrations. A migration that does not get the lock of a
// table within migrationLockWait is rolled back and tried again, for migrationPatience:
// whoever needs the table meanwhile would wait behind it.
func Migrate(ctx context.Context, url string) error {
	return withGoose(url, func(p *goose.Provider) error {
		for began := time.Now(); ; {
			_, err := p.Up(ctx)
			if !isLocked(err) || time.Since(began) > migrationPatience || Pause(ctx, migrationPause) != nil {
				return err
			}
		}
	})
}

const (
	migrationLockWait = "2s"
	migrationPause    = time.Second
	migrationPatience = 5 * time.Minute
)

// isLocked reports whether a migration was rolled back for the locks of others.
func isLocked(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == "55P03" || refused.Code == "40P01")
}

// MigrationStatus returns every migration of this program, oldest first.
func MigrationStatus(ctx context.Context, url string) ([]Migration, error) {
	var out []Migration
	err := withGoose(url, func(p *goose.Provider) error {
		list, err := p.Status(ctx)
		for _, m := range list {
			out = append(out, Migration{Version: m.Source.Version, Name: m.Source.Path, AppliedAt: m.AppliedAt})
		}
		return err
	})
	return out, err
}

// PendingMigrations returns the number of this program's migrations that the
// database lacks; it is negative if the schema is newer than the program. Errors: ErrUnavailable.
func (d *DB) PendingMigrations(ctx context.Context) (int, error) {
	pending, err := 0, error(nil)
	err = d.retryOnce(ctx, func() error {
		tx, err := d.pool.Begin(ctx)
		if err != nil {
			return err
		}
		defer rollBack(ctx, tx)
		pending, err = pendingMigrations(ctx, tx)
		return err
	})
	return pending, markUnavailable(err)
}

// pendingMigrations is PendingMigrations in a transaction, whose role it changes.
func pendingMigrations(ctx context.Context, tx pgx.Tx) (int, error) {
	entries, err := migrations.FS.ReadDir(".")
	if err != nil {
		return 0, fmt.Errorf("db: %w", err)
	}
	// Before the first migration there is neither a table nor a role.
	var exists bool
	if err := tx.QueryRow(ctx, "select to_regclass($1) is not null", migrationsTable).Scan(&exists); err != nil || !exists {
		return len(entries), err
	}
	if _, err := tx.Exec(ctx, "select set_config('role', 'keyward_platform', true)"); err != nil {
		return 0, err
	}
	var applied int
	err = tx.QueryRow(ctx, "select count(*) from "+migrationsTable+" where version_id > 0 and is_applied").Scan(&applied)
	return len(entries) - applied, err
}

func withGoose(url string, fn func(*goose.Provider) error) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("db: database URL: %w", err)
	}
	cfg.RuntimeParams["standard_conforming_strings"] = "on" // as transactionSettings
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = poolConnectTimeout
	}
	conn := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "set lock_timeout = '"+migrationLockWait+"'") // poolers refuse it at the start of a connection
		return err
	}))
	defer conn.Close()
	p, err := newGoose(conn)
	if err != nil {
		return fmt.Errorf("db: migrations: %w", err)
	}
	if err := fn(p); err != nil {
		return markUnavailable(fmt.Errorf("db: migrations: %w", err))
	}
	return nil
}

func newGoose(conn *sql.DB) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, conn, migrations.FS,
		goose.WithSessionLocker(locker), goose.WithTableName(migrationsTable))
}
