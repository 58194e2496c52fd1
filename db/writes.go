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

// Send runs what is queued, in order and one round trip, and empties the queue.
// Errors: the first statement's that failed, or ErrGuard.
func (w *Writes) Send(ctx context.Context) error {
	queued, want := w.take()
	return w.run(ctx, queued, want, 1)
}

// SendEach is Send with a round trip for each statement: between two of them
// PostgreSQL's process waits, and whoever else is waiting gets the core it was on.
func (w *Writes) SendEach(ctx context.Context) error {
	queued, want := w.take()
	for i := range queued {
		if err := w.run(ctx, queued[i:i+1], want[i:i+1], i+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writes) take() ([]*pgx.QueuedQuery, []int64) {
	queued, want := w.batch.QueuedQueries, w.want
	w.batch, w.want = pgx.Batch{}, nil
	return queued, want
}

// run runs statements, of which the first has a number that errors start from.
func (w *Writes) run(ctx context.Context, queued []*pgx.QueuedQuery, want []int64, first int) error {
	results := w.tx.SendBatch(ctx, &pgx.Batch{QueuedQueries: queued})
	var failed error
	for i, want := range want {
		tag, err := results.Exec()
		if err == nil && want >= 0 && tag.RowsAffected() != want {
			err = fmt.Errorf("%w: statement %d changed %d rows instead of %d", ErrGuard, first+i, tag.RowsAffected(), want)
		}
		if err != nil {
			failed = err
			break
		}
	}
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
