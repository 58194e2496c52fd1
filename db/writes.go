package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyward/keyward/internal/plural"
)

// ErrGuard is returned by Writes.Send if a statement changed another number of rows
// than expected, because a concurrent transaction had changed them.
var ErrGuard = errors.New("db: a row was not in the expected state")

var errWritesOnly = errors.New("db: only statements without rows can be queued")

// Writes queues statements of a transaction and sends them in one round trip. The
// generated queries use it like a connection.
type Writes struct {
	*Queries
	tx    session
	clock *clockMonitor
	batch pgx.Batch
	want  []int64 // rows each statement must change; -1: any
}

// Later returns an empty queue for this transaction.
func (t *Tx) Later() *Writes {
	t.changes = true
	w := &Writes{tx: t.tx, clock: t.clock}
	w.Queries = New(queue{w})
	return w
}

// Expect sets the number of rows that the last queued statement must change.
func (w *Writes) Expect(rows int) { w.want[len(w.want)-1] = int64(rows) }

// Send runs the queued statements in order in one round trip, and empties the queue.
// Errors: that of the first failed statement, or ErrGuard.
func (w *Writes) Send(ctx context.Context) error {
	queued, want := w.take()
	return w.run(ctx, queued, want, 1)
}

// SendEach is Send with a round trip for each statement. PostgreSQL's process yields
// its core to other sessions between two statements, but not inside a pipeline.
func (w *Writes) SendEach(ctx context.Context) error {
	queued, want := w.take()
	for i := range queued {
		if err := w.run(ctx, queued[i:i+1], want[i:i+1], i+1); err != nil {
			return err
		}
	}
	return nil
}

// take returns the queued statements and empties the queue.
func (w *Writes) take() ([]*pgx.QueuedQuery, []int64) {
	queued, want := w.batch.QueuedQueries, w.want
	w.batch, w.want = pgx.Batch{}, nil
	return queued, want
}

// run runs statements. first is the number of the first one in errors.
func (w *Writes) run(ctx context.Context, queued []*pgx.QueuedQuery, want []int64, first int) error {
	results := w.tx.SendBatch(ctx, &pgx.Batch{QueuedQueries: queued})
	var failed error
	for i, want := range want {
		tag, err := results.Exec()
		if err == nil && want >= 0 && tag.RowsAffected() != want {
			err = fmt.Errorf("%w: statement %d changed %s instead of %d", ErrGuard, first+i, plural.Count(tag.RowsAffected(), "row"), want)
		}
		if err != nil {
			failed = err
			break
		}
	}
	return errors.Join(failed, closeUnless(failed, results))
}

// closeUnless closes results. It returns no error after a failure, which would be
// the same again.
func closeUnless(failed error, results pgx.BatchResults) error {
	err := results.Close()
	if failed != nil {
		return nil
	}
	return err
}

// queue is the connection of the generated queries in Writes: it queues statements.
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
