package dbtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/migrations"
)

// templateLock is the advisory lock under which templates are made: several
// test processes can share one server.
const templateLock = 0x6b657977617264 // "keyward"

// makeTemplate returns the name of a database with all migrations applied,
// which it makes if the server does not have it. The name holds a hash of the
// migrations, so a changed one is never missed.
func makeTemplate(ctx context.Context, admin string) (name string, err error) {
	sum, err := hashOf(migrations.FS)
	if err != nil {
		return "", err
	}
	name = "keyward_template_" + sum
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx) // and with it the lock
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(templateLock)); err != nil {
		return "", err
	}
	var exists bool
	const query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
	if err := conn.QueryRow(ctx, query, name).Scan(&exists); err != nil || exists {
		return name, err
	}
	return name, buildTemplate(ctx, conn, admin, name)
}

// buildTemplate gives the database its name only when it is complete.
func buildTemplate(ctx context.Context, conn *pgx.Conn, admin, name string) error {
	draft := name + "_draft"
	for _, sql := range []string{
		"DROP DATABASE IF EXISTS " + draft + " WITH (FORCE)",
		"CREATE DATABASE " + draft + " TEMPLATE template0",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := db.Migrate(ctx, withDatabase(admin, draft)); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	// A database in use cannot be cloned, so nobody may connect.
	for _, sql := range []string{
		"ALTER DATABASE " + draft + " WITH ALLOW_CONNECTIONS false",
		"ALTER DATABASE " + draft + " RENAME TO " + name,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// hashOf is a short hash of the names and contents of all files.
func hashOf(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), err
}

// withDatabase is dsn, a URL or keyword=value pairs, for another database.
func withDatabase(dsn, name string) string {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " dbname=" + name // the last one counts
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn // whoever connects reports it
	}
	u.Path = "/" + name
	return u.String()
}
