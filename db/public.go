package db

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Public is all that anybody may know of a tenant.
type Public struct {
	Tenant    PublicTenantRow
	Keys      []PublishedKeysRow
	Policies  []PublicPoliciesRow
	ChangedAt time.Time // of the tenant's last audit event
}

// PublicTenant reads a live tenant by its id, or by its slug where id is
// uuid.Nil, as the role that cannot read secrets, in one round trip. Without
// an explicit BEGIN a pipeline is one transaction, and the role ends with it.
// Errors: ErrNoRows, ErrUnavailable.
func (d *DB) PublicTenant(ctx context.Context, id uuid.UUID, slug string) (p Public, err error) {
	err = d.healing(func() (err error) {
		p, err = publicTenantOf(ctx, d.pool, &pgx.Batch{}, id, slug)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Public{}, ErrNoRows
	}
	return p, wrap(err)
}

// TenantOfDomain finds the live tenant whose custom domain this is, as
// PublicTenant does. Errors: ErrNoRows, ErrUnavailable.
func (d *DB) TenantOfDomain(ctx context.Context, domain string) (id uuid.UUID, err error) {
	err = d.healing(func() error {
		b := &pgx.Batch{}
		b.Queue("select set_config('role', 'keyward_public', true)")
		b.Queue(tenantOfDomain, domain).QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
		return d.pool.SendBatch(ctx, b).Close()
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, ErrNoRows
	}
	return id, wrap(err)
}

func publicTenantOf(ctx context.Context, pool *pgxpool.Pool, b *pgx.Batch, id uuid.UUID, slug string) (Public, error) {
	var p Public
	b.Queue("select set_config('role', 'keyward_public', true)")
	var find *pgx.QueuedQuery
	if id != uuid.Nil {
		find = b.Queue(publicTenant, id)
	} else {
		find = b.Queue(publicTenantBySlug, slug)
	}
	find.Query(func(rows pgx.Rows) (err error) {
		p.Tenant, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[PublicTenantRow])
		return err
	})
	b.Queue(publishedKeys).Query(func(rows pgx.Rows) (err error) {
		p.Keys, err = pgx.CollectRows(rows, pgx.RowToStructByPos[PublishedKeysRow])
		return err
	})
	b.Queue(publicPolicies).Query(func(rows pgx.Rows) (err error) {
		p.Policies, err = pgx.CollectRows(rows, pgx.RowToStructByPos[PublicPoliciesRow])
		return err
	})
	b.Queue(publicChangedAt).QueryRow(func(row pgx.Row) error { return row.Scan(&p.ChangedAt) })
	return p, pool.SendBatch(ctx, b).Close()
}

// PublicKeyHistory reads the keys of a live tenant that ever signed, as the
// role that cannot read secrets, in one round trip. Errors: ErrNoRows,
// ErrUnavailable.
func (d *DB) PublicKeyHistory(ctx context.Context, id uuid.UUID) (history []PublicKeyHistoryRow, err error) {
	err = d.healing(func() error {
		b := &pgx.Batch{}
		b.Queue("select set_config('role', 'keyward_public', true)")
		b.Queue(publicTenant, id).Query(func(rows pgx.Rows) error {
			_, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[PublicTenantRow])
			return err
		})
		b.Queue(publicKeyHistory).Query(func(rows pgx.Rows) (err error) {
			history, err = pgx.CollectRows(rows, pgx.RowToStructByPos[PublicKeyHistoryRow])
			return err
		})
		return d.pool.SendBatch(ctx, b).Close()
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNoRows
	}
	return history, wrap(err)
}
