package db

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxAttempts is how often a transaction is run while PostgreSQL refuses it for a
// reason that the next attempt may not meet.
const maxAttempts = 5

// maxLateAttempts is how often a transaction is run that is refused for its time: it may
// take too long to commit within the bound, however often it is run.
const maxLateAttempts = 3

// repeat calls do until it succeeds or fails for a reason that would fail it again.
// do must run a whole transaction, and must read the clock itself.
func (d *DB) repeat(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || n == maxAttempts || !isTransient(err) || n == maxLateAttempts && Constraint(err) == TimeOfEffect {
			if isLost(err) {
				d.suspectOutage()
			}
			return markUnavailable(err)
		}
		d.repeats.Add(1)
		if Pause(ctx, time.Duration(n)*time.Millisecond+rand.N(10*time.Millisecond)) != nil { // #nosec G404 -- jitter
			return markUnavailable(err)
		}
	}
}

// Repeat runs a whole request whose transaction a [Change] holds, and runs it again for
// the reasons for which the doors run a transaction again. Errors: do's, or
// ErrUnavailable.
func (d *DB) Repeat(ctx context.Context, do func() error) error { return d.repeat(ctx, do) }

// Repeats counts the transactions that were run again because they were the victim of
// a deadlock or took effect too late.
func (d *DB) Repeats() int64 { return d.repeats.Load() }

// isTransient reports whether PostgreSQL rolled a transaction back for a reason that
// lies in others' transactions or in time that has passed: serialization failure and
// deadlock (SQLSTATE class 40, except 40003, which leaves open what happened), or a
// time of effect that lies too far back.
func isTransient(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	return pg.Code == "40001" || pg.Code == "40P01" || Constraint(err) == TimeOfEffect
}

// begun is a transaction begun by a pipeline or by beginAs. Release returns the
// connection to the pool if no transaction is open on it, and closes it otherwise.
type begun struct {
	*pgxpool.Conn
	role, tenant string
	over         bool
	held         bool // by a Change, which ends it
}

var errOver = errors.New("db: the transaction is over")

func (t *begun) end(ctx context.Context, how string) error {
	if t.over || t.held {
		return errOver
	}
	t.over = true
	defer t.Release()
	tag, err := t.Exec(ctx, how)
	if err == nil && how == "commit" && tag.String() == "ROLLBACK" {
		return pgx.ErrTxCommitRollback
	}
	return err
}

func (t *begun) Commit(ctx context.Context) error   { return t.end(ctx, "commit") }
func (t *begun) Rollback(ctx context.Context) error { return t.end(ctx, "rollback") }
