package db

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Locked is a tenant under the lock that every change of it takes first, with
// all that a change looks at.
type Locked struct {
	Tenant   *LockTenantRow // nil: there is none
	Policies []Policy
	Keys     []UnpurgedKeysOfTenantsRow
	DataKeys []CurrentDataKeysRow // one, or none if it is destroyed
}

// InLockedTenant is InTenant for a change: the round trip that begins the
// transaction also locks the tenant and reads it. What is read is as it is once
// the lock is had, for each statement sees what was committed before it began.
func (d *DB) InLockedTenant(ctx context.Context, tenantID uuid.UUID, fn func(*Tx, Locked) error) error {
	var (
		tx     *begun
		locked Locked
	)
	err := d.healing(func() (err error) {
		tx, locked, err = d.lock(ctx, tenantID)
		return err
	})
	if err != nil {
		return wrap(err)
	}
	defer rollback(ctx, tx)
	if err := fn(&Tx{Queries: New(tx), tx: tx}, locked); err != nil {
		return wrap(err)
	}
	return wrap(tx.Commit(ctx))
}

func (d *DB) lock(ctx context.Context, tenantID uuid.UUID) (*begun, Locked, error) {
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
		rollback(ctx, tx)
		return nil, Locked{}, err
	}
	return tx, l, nil
}

// enterTenant lets what is queued next see and change one tenant's rows, until
// the pipeline's transaction ends.
func enterTenant(b *pgx.Batch, id uuid.UUID) {
	b.Queue("select set_config('role', 'keyward_app', true), set_config('keyward.tenant_id', $1, true), "+timeLimits, id.String())
}

// queueRows queues a query whose columns are T's fields in order.
func queueRows[T any](b *pgx.Batch, to *[]T, sql string, args ...any) {
	b.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		return err
	})
}

// begun is a transaction that a pipeline has begun. Release gives a connection
// back only if no transaction is open on it, and closes it otherwise.
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
