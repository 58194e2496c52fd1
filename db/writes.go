package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrGuard is returned by Writes.Send when a statement changed another number
// of rows than expected: somebody else moved what it was to move.
var ErrGuard = errors.New("db: a row was not in the expected state")

var errWritesOnly = errors.New("db: only statements without rows can be queued")

// Writes queues statements of a transaction and sends them in one round trip.
// It takes the place of a connection behind the generated queries.
type Writes struct {
	*Queries
	tx    session
	batch pgx.Batch
	want  []int64 // rows each statement must change; -1: any
}

// Later returns an empty queue for this transaction.
func (t *Tx) Later() *Writes {
	w := &Writes{tx: t.tx}
	w.Queries = New(queue{w})
	return w
}

// Expect says how many rows the statement queued last must change.
func (w *Writes) Expect(rows int) { w.want[len(w.want)-1] = int64(rows) }

// Send runs what is queued, in order, and empties the queue. Errors: the first
// statement's that failed, or ErrGuard.
func (w *Writes) Send(ctx context.Context) error {
	results := w.tx.SendBatch(ctx, &w.batch)
	var failed error
	for i, want := range w.want {
		tag, err := results.Exec()
		if err == nil && want >= 0 && tag.RowsAffected() != want {
			err = fmt.Errorf("%w: statement %d changed %d rows instead of %d", ErrGuard, i+1, tag.RowsAffected(), want)
		}
		if err != nil {
			failed = err
			break
		}
	}
	w.batch, w.want = pgx.Batch{}, nil
	return errors.Join(failed, closeUnless(failed, results))
}

func closeUnless(failed error, results pgx.BatchResults) error {
	err := results.Close()
	if failed != nil {
		return nil // the same failure again
	}
	return err
}

// queue is the connection behind Writes: it remembers instead of running.
type queue struct{ w *Writes }

func (q queue) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	q.w.batch.Queue(sql, args...)
	q.w.want = append(q.w.want, -1)
	return pgconn.CommandTag{}, nil
}

func (q queue) Query(context.Context, string, ...any) (pgx.Rows, error) { return nil, errWritesOnly }

func (q queue) QueryRow(context.Context, string, ...any) pgx.Row { return noRow{} }

type noRow struct{}

func (noRow) Scan(...any) error { return errWritesOnly }
