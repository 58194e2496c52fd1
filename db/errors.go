package db

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNoRows is returned by a query for exactly one row if there is none.
var ErrNoRows = pgx.ErrNoRows

// ErrUnavailable means that PostgreSQL could not be reached or did not answer in
// time. The statement itself may be correct: try again.
var ErrUnavailable = errors.New("db: PostgreSQL is unavailable")

// ErrReadOnly means that the database accepts no writes: it is a standby, or set to
// read-only.
var ErrReadOnly = errors.New("db: the database is read-only")

// ErrDiskFull means that PostgreSQL has no room to write.
var ErrDiskFull = errors.New("db: the disk of the database is full")

// Constraint returns the name of the constraint or rule that refused a write, or
// "" if err has another cause. Rules enforced by triggers have names like
// constraints (keyward_refuse in the migrations).
func Constraint(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "23") {
		return pg.ConstraintName
	}
	return ""
}

// TimeOfEffect is the rule that refuses a change whose time is further than 5 s from
// the database's clock when it commits.
const TimeOfEffect = "audit_events_time_of_effect"

// markUnavailable wraps err in ErrUnavailable if isUnavailable.
func markUnavailable(err error) error {
	if Constraint(err) == TimeOfEffect && !errors.Is(err, ErrClock) {
		return fmt.Errorf("%w: %w", ErrClock, err)
	}
	if err == nil || errors.Is(err, ErrUnavailable) || !isUnavailable(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// isUnavailable reports whether err means that PostgreSQL is unavailable rather
// than that it refused a statement. SQLSTATE classes: 08 connection, 53 resources,
// 57P shutdown and start-up, 25006 a standby after a failover, 25P03 and 25P04 a
// transaction that stood still or took too long, 40 serialization and
// deadlock, 55P03 lock timeout, 57014 statement timeout.
func isUnavailable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		for _, class := range []string{"08", "53", "57P", "25006", "25P03", "25P04", "40", "55P03", "57014"} {
			if strings.HasPrefix(pg.Code, class) {
				return true
			}
		}
		return false
	}
	if errors.Is(err, context.Canceled) {
		return false
	}
	var (
		connect *pgconn.ConnectError
		network net.Error
	)
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, context.DeadlineExceeded) || isClosed(err)
}

// isLockTimeout reports whether err means that other transactions held locks for
// too long: the connection is intact, and a second attempt would wait as long.
func isLockTimeout(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "57014" || strings.HasPrefix(pg.Code, "40"))
}

// isClosed reports whether a connection ended during a statement. pgx has no type
// for these errors.
func isClosed(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unexpected EOF") || strings.Contains(text, "conn closed") || strings.Contains(text, "closed pool")
}
