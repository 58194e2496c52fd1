package db

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Locked is a tenant whose row is locked, as every change of a tenant locks it
// first, with the rows that changes read.
type Locked struct {
	Tenant   *LockTenantRow // nil if it does not exist
	Policies []Policy
	Keys     []UnpurgedKeysOfTenantsRow
	DataKeys []CurrentDataKeysRow // one, or none after its destruction
}

// InLockedTenant is InTenant for a change: the round trip that begins the
// transaction also locks the tenant and reads its rows. These are current under the
// lock, because each statement sees everything committed before it began.
func (d *DB) InLockedTenant(ctx context.Context, tenantID uuid.UUID, fn func(*Tx, Locked) error) error {
	var (
		tx     *begun
		locked Locked
	)
	err := d.retryOnce(func() (err error) {
		tx, locked, err = d.beginLocked(ctx, tenantID)
		return err
	})
	if err != nil {
		return markUnavailable(err)
	}
	defer rollBack(ctx, tx)
	if err := fn(&Tx{Queries: New(tx), tx: tx}, locked); err != nil {
		return markUnavailable(err)
	}
	return markUnavailable(tx.Commit(ctx))
}

// beginLocked begins a transaction, locks a tenant and reads its rows.
func (d *DB) beginLocked(ctx context.Context, tenantID uuid.UUID) (*begun, Locked, error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, Locked{}, err
	}
	var l Locked
	id, b := []uuid.UUID{tenantID}, &pgx.Batch{}
	b.Queue("begin")
	enterTenant(b, tenantID)
	b.Queue(lockTenant, tenantID).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[LockTenantRow])
		if len(found) == 1 {
			l.Tenant = &found[0]
		}
		return err
	})
	queueRows(b, &l.Policies, listPoliciesOfTenants, id)
	queueRows(b, &l.Keys, unpurgedKeysOfTenants, id)
	queueRows(b, &l.DataKeys, currentDataKeys, id)
	tx := &begun{Conn: conn}
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		rollBack(ctx, tx)
		return nil, Locked{}, err
	}
	return tx, l, nil
}

// enterTenant queues the statement that gives the transaction of a pipeline the role
// and the id of one tenant.
func enterTenant(b *pgx.Batch, id uuid.UUID) {
	b.Queue("select set_config('role', 'keyward_app', true), set_config('keyward.tenant_id', $1, true), "+timeLimits, id.String())
}

// queueRows queues a query whose columns are the fields of T, in order.
func queueRows[T any](b *pgx.Batch, to *[]T, sql string, args ...any) {
	b.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		return err
	})
}

// begun is a transaction begun by a pipeline. Release returns the connection to the
// pool if no transaction is open on it, and closes it otherwise.
type begun struct {
	*pgxpool.Conn
	over bool
}

var errOver = errors.New("db: the transaction is over")

func (t *begun) end(ctx context.Context, how string) error {
	if t.over {
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
