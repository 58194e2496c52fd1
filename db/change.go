package db

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrUnknownOutcome means that COMMIT was sent and its answer was lost: the change may
// have been made. It is an ErrUnavailable.
var ErrUnknownOutcome = errors.New("db: the answer to COMMIT was lost; the change may have been made")

var errSecondChange = errors.New("db: a second change, while the first one is not yet committed")

// Outcome says what is known of a change.
type Outcome int

// What can be known of a change.
const (
	Unchanged Outcome = iota // nothing was committed
	Changed                  // committed
	Unknown                  // see ErrUnknownOutcome
)

// Change follows the change that one request makes: whether it was committed, and, if
// the Change holds, its transaction, which the door leaves open for [Change.Commit]. So
// what belongs to the change and is only known after the door has returned, the answer
// to the request, is written in the same transaction.
//
// While it holds a transaction, a door that is opened with its context joins that
// transaction; another change is an error, because it would wait for the locks of the
// first. The caller must end it, with Commit or Rollback, soon: the transaction holds
// locks, and PostgreSQL ends it after 5 s (transactionSettings).
type Change struct {
	hold   bool
	within *Change // the change that this one is a part of, or nil

	mu      sync.Mutex
	d       *DB
	tx      *begun // not yet committed
	outcome Outcome
	after   []func()
}

type changeKey struct{}

// WithChange returns a context whose first changing transaction belongs to the Change.
// With hold the transaction is left to [Change.Commit].
func WithChange(ctx context.Context, hold bool) (context.Context, *Change) {
	c := &Change{hold: hold, within: changeOf(ctx)}
	return context.WithValue(ctx, changeKey{}, c), c
}

// WithoutChange returns a context for transactions that are not the change of the
// request, such as one that has to stay if the change fails.
func WithoutChange(ctx context.Context) context.Context {
	return context.WithValue(ctx, changeKey{}, (*Change)(nil))
}

func changeOf(ctx context.Context) *Change {
	c, _ := ctx.Value(changeKey{}).(*Change)
	return c
}

// AfterCommit calls f once what the context's Change holds is committed, or at once if
// it holds nothing. f does not run if the transaction is rolled back.
func AfterCommit(ctx context.Context, f func()) {
	if c := changeOf(ctx); c.holds() {
		c.after = append(c.after, f)
		return
	}
	f()
}

// holds reports whether a transaction waits for its commit.
func (c *Change) holds() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tx != nil
}

// Outcome returns the outcome of the change as far as it is known.
func (c *Change) Outcome() Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outcome
}

// ChangeMade reports whether a change that belongs to the context's Change, or to one
// within it, was committed.
func ChangeMade(ctx context.Context) bool {
	c := changeOf(ctx)
	return c != nil && c.Outcome() == Changed
}

// finish commits the transaction of a door, or leaves it to the context's Change.
func (d *DB) finish(ctx context.Context, tx *begun, t *Tx) error {
	if !t.changes {
		return tx.Commit(ctx)
	}
	c := changeOf(ctx)
	if c != nil && c.hold {
		c.mu.Lock()
		defer c.mu.Unlock()
		tx.held, c.tx, c.d = true, tx, d
		return nil
	}
	err := checkSendable(ctx, tx)
	if err == nil {
		err = lostCommit(tx.Commit(ctx))
	}
	if c != nil {
		c.ended(err)
	}
	return err
}

// ended records the result of a commit.
func (c *Change) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.outcome = Changed
		if c.within != nil {
			c.within.ended(nil)
		}
	case errors.Is(err, ErrUnknownOutcome):
		c.outcome = Unknown
	}
}

// errNotSent means that a COMMIT was not sent.
var errNotSent = errors.New("db: the transaction was not committed")

// checkSendable returns errNotSent if a COMMIT on a connection cannot be sent. Afterwards
// that cannot be told: pgx returns the same error for a connection that was closed
// before and for one that breaks.
func checkSendable(ctx context.Context, tx *begun) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	if tx.Conn.Conn().IsClosed() {
		return fmt.Errorf("%w: %w", errNotSent, ErrUnavailable)
	}
	return nil
}

// lostCommit wraps the error of a COMMIT in ErrUnknownOutcome, unless PostgreSQL refused
// it or it was never sent. A session that is ended (FATAL) may have committed before:
// so it does when it waits for a synchronous standby.
func lostCommit(err error) error {
	var refused *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, pgx.ErrTxCommitRollback), errors.Is(err, errOver), errors.Is(err, errNotSent):
		return err
	case errors.As(err, &refused) && refused.SeverityUnlocalized == "ERROR" && refused.Code != "40003" && refused.Code != "08007":
		return err
	}
	return fmt.Errorf("%w: %w: %w", ErrUnknownOutcome, ErrUnavailable, err)
}

// join runs fn in the held transaction, as the given role. If fn fails, what it did is
// taken back, and the transaction goes on.
func (c *Change) join(ctx context.Context, role, tenant string, fn func(*Tx) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.tx.Exec(ctx, "savepoint joined"); err != nil {
		return markUnavailable(err)
	}
	err := enter(ctx, c.tx, role, tenant)
	if err == nil {
		err = fn(c.d.newTx(c.tx))
	}
	if err != nil {
		_, undone := c.tx.Exec(ctx, "rollback to savepoint joined")
		return markUnavailable(errors.Join(err, undone))
	}
	return markUnavailable(enter(ctx, c.tx, c.tx.role, c.tx.tenant))
}

// enter gives a transaction a role and the id of a tenant.
func enter(ctx context.Context, tx *begun, role, tenant string) error {
	_, err := tx.Exec(ctx, "select set_config('role', $1, true), set_config('keyward.tenant_id', $2, true)", role, tenant)
	return err
}

// Commit queues the statements of write behind the held transaction and commits both in
// one round trip. Without a held transaction they get one of their own: that of a
// tenant, or of the platform for a nil tenantID. Whatever the result is, nothing is held
// afterwards. Errors: ErrUnknownOutcome, ErrUnavailable, PostgreSQL's refusal.
func (c *Change) Commit(ctx context.Context, d *DB, tenantID *uuid.UUID, write func(*Writes) error) error {
	if !c.holds() {
		return d.writeAlone(WithoutChange(ctx), tenantID, write)
	}
	c.mu.Lock()
	tx := c.tx
	c.tx, tx.held = nil, false
	c.mu.Unlock()
	defer rollBack(ctx, tx)
	w := d.newTx(tx).Later()
	if err := write(w); err != nil {
		return err
	}
	if err := checkSendable(ctx, tx); err != nil {
		return err
	}
	err := lostCommit(w.commit(ctx))
	c.ended(err)
	if err != nil {
		return markUnavailable(err)
	}
	tx.over = true
	tx.Release()
	for _, f := range c.after {
		f()
	}
	return nil
}

// writeAlone runs queued statements in a transaction of their own.
func (d *DB) writeAlone(ctx context.Context, tenantID *uuid.UUID, write func(*Writes) error) error {
	do := func(tx *Tx) error {
		w := tx.Later()
		if err := write(w); err != nil {
			return err
		}
		return w.Send(ctx)
	}
	if tenantID != nil {
		return d.InTenant(ctx, *tenantID, do)
	}
	return d.AsPlatform(ctx, do)
}

// commit sends the queued statements and COMMIT in one round trip.
func (w *Writes) commit(ctx context.Context) error {
	w.batch.Queue("commit")
	results := w.tx.SendBatch(ctx, &pgx.Batch{QueuedQueries: w.batch.QueuedQueries})
	var err error
	for range w.want {
		if _, err = results.Exec(); err != nil {
			break
		}
	}
	if err == nil {
		var tag pgconn.CommandTag
		if tag, err = results.Exec(); err == nil && tag.String() == "ROLLBACK" {
			err = pgx.ErrTxCommitRollback
		}
	}
	return errors.Join(err, closeUnless(err, results))
}

// Rollback ends a held transaction, if there is one.
func (c *Change) Rollback(ctx context.Context) {
	c.mu.Lock()
	tx := c.tx
	c.tx, c.after = nil, nil
	c.mu.Unlock()
	if tx != nil {
		tx.held = false
		rollBack(ctx, tx)
	}
}
