package db

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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
	if changeOf(ctx).holds() {
		return errSecondChange
	}
	return d.repeat(ctx, func() error {
		var (
			tx     *begun
			locked Locked
		)
		err := d.retryOnce(ctx, func() (err error) {
			tx, locked, err = d.beginLocked(ctx, tenantID)
			return err
		})
		if err != nil {
			return err
		}
		defer rollBack(ctx, tx)
		t := d.newTx(tx)
		if err := fn(t, locked); err != nil {
			return err
		}
		return d.finish(ctx, tx, t)
	})
}

// beginLocked begins a transaction, locks a tenant and reads its rows.
func (d *DB) beginLocked(ctx context.Context, tenantID uuid.UUID) (*begun, Locked, error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, Locked{}, err
	}
	var l Locked
	var micros int64
	id, b := []uuid.UUID{tenantID}, &pgx.Batch{}
	b.Queue("begin")
	enterTenant(b, tenantID, &micros)
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
	tx, began := &begun{Conn: conn, role: "keyward_app", tenant: tenantID.String()}, d.clock.now()
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		rollBack(ctx, tx)
		return nil, Locked{}, err
	}
	d.clock.measured(began, micros)
	return tx, l, nil
}

// enterTenant queues the statement that gives the transaction of a pipeline the role
// and the id of one tenant, and reads the database's clock.
func enterTenant(b *pgx.Batch, id uuid.UUID, micros *int64) {
	b.Queue("select set_config('role', 'keyward_app', true), set_config('keyward.tenant_id', $1, true), "+transactionSettings+", "+databaseTime, id.String()).
		QueryRow(func(row pgx.Row) error { return row.Scan(nil, nil, nil, nil, nil, nil, micros) })
}

// queueRows queues a query whose columns are the fields of T, in order.
func queueRows[T any](b *pgx.Batch, to *[]T, sql string, args ...any) {
	b.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		return err
	})
}
