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

// ErrNoRows is what a query for exactly one row returns when there is none.
var ErrNoRows = pgx.ErrNoRows

// ErrUnavailable means that PostgreSQL could not be asked, or could not answer
// in time: nothing is known to be wrong with the question, try again.
var ErrUnavailable = errors.New("db: PostgreSQL is unavailable")

// Constraint returns the name of the constraint or rule that refused a write,
// or "" if that is not why err happened. Rules that triggers keep have names
// like constraints (keyward_refuse in the migrations).
func Constraint(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "23") {
		return pg.ConstraintName
	}
	return ""
}

// wrap marks the errors that are PostgreSQL's absence.
func wrap(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || !unavailable(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// unavailable tells absence from refusal. SQLSTATE classes: 08 connection, 53
// resources, 57P shutdown and start-up, 25006 a standby after a failover,
// 40 serialization and deadlock, 55P03 a lock not had in time, 57014 a
// statement not done in time.
func unavailable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		for _, class := range []string{"08", "53", "57P", "25006", "40", "55P03", "57014"} {
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

// inTheWay tells that others held what was wanted for too long: the connection
// is in order, and the same thing would wait as long again.
func inTheWay(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "57014" || strings.HasPrefix(pg.Code, "40"))
}

// isClosed knows the errors of a connection that ended under a statement,
// which pgx reports without a type of their own.
func isClosed(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unexpected EOF") || strings.Contains(text, "conn closed") || strings.Contains(text, "closed pool")
}
