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
	// Tenant has the JWK Set as it is served, unless JWKS is nil: then it is not
	// up to date, and what it is made from follows.
	Tenant    PublicTenantRow
	Keys      []PublishedKeysRow
	Policies  []PublicPoliciesRow
	ChangedAt time.Time // of the tenant's last audit event
}

// PublicTenant reads a live tenant by its id, or by its slug where id is
// uuid.Nil, as the role that cannot read secrets: in one round trip, or two if
// its JWK Set is not up to date. Errors: ErrNoRows, ErrUnavailable.
func (d *DB) PublicTenant(ctx context.Context, id uuid.UUID, slug string) (p Public, err error) {
	err = d.healing(func() (err error) {
		p, err = d.publicTenant(ctx, id, slug)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Public{}, ErrNoRows
	}
	return p, wrap(err)
}

// publicTenant asks a connection as it is, which has the role between
// transactions; where that finds nothing, the role is named.
func (d *DB) publicTenant(ctx context.Context, id uuid.UUID, slug string) (Public, error) {
	if d.pooled {
		return publicTenantOf(ctx, d.pool, asPublic(), id, slug)
	}
	var p Public
	var err error
	if id != uuid.Nil {
		p.Tenant, err = New(d.pool).PublicTenant(ctx, id)
	} else {
		var found PublicTenantBySlugRow
		found, err = New(d.pool).PublicTenantBySlug(ctx, slug)
		p.Tenant = PublicTenantRow(found)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return publicTenantOf(ctx, d.pool, asPublic(), id, slug)
	}
	if err != nil {
		return p, err
	}
	return p, p.complete(ctx, d.pool)
}

// asPublic begins a pipeline that the public's role runs. Without an explicit
// BEGIN a pipeline is one transaction, and the role ends with it.
func asPublic() *pgx.Batch {
	b := &pgx.Batch{}
	b.Queue("select set_config('role', 'keyward_public', true)")
	return b
}

// publicTenantOf finds a tenant in a pipeline that has entered the role.
func publicTenantOf(ctx context.Context, pool *pgxpool.Pool, b *pgx.Batch, id uuid.UUID, slug string) (p Public, err error) {
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
	if err := pool.SendBatch(ctx, b).Close(); err != nil {
		return p, err
	}
	return p, p.complete(ctx, pool)
}

// complete reads what the tenant's JWK Set is made from if that is not up to
// date. It may be of a later version than the tenant is, never of an earlier one.
func (p *Public) complete(ctx context.Context, pool *pgxpool.Pool) error {
	if p.Tenant.JWKS != nil {
		return nil
	}
	b := asPublic()
	b.Queue(enterPublicTenant, p.Tenant.ID).QueryRow(func(row pgx.Row) error { return row.Scan(nil) })
	b.Queue(publishedKeys).Query(func(rows pgx.Rows) (err error) {
		p.Keys, err = pgx.CollectRows(rows, pgx.RowToStructByPos[PublishedKeysRow])
		return err
	})
	b.Queue(publicPolicies).Query(func(rows pgx.Rows) (err error) {
		p.Policies, err = pgx.CollectRows(rows, pgx.RowToStructByPos[PublicPoliciesRow])
		return err
	})
	b.Queue(publicChangedAt).QueryRow(func(row pgx.Row) error { return row.Scan(&p.ChangedAt) })
	return pool.SendBatch(ctx, b).Close()
}

// TenantOfDomain finds the live tenant whose custom domain this is, as
// PublicTenant does. Errors: ErrNoRows, ErrUnavailable.
func (d *DB) TenantOfDomain(ctx context.Context, domain string) (id uuid.UUID, err error) {
	err = d.healing(func() error {
		b := asPublic()
		b.Queue(tenantOfDomain, domain).QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
		return d.pool.SendBatch(ctx, b).Close()
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, ErrNoRows
	}
	return id, wrap(err)
}

// PublicKeyHistory reads the keys of a live tenant that ever signed, as the
// role that cannot read secrets, in one round trip. Errors: ErrNoRows,
// ErrUnavailable.
func (d *DB) PublicKeyHistory(ctx context.Context, id uuid.UUID) (history []PublicKeyHistoryRow, err error) {
	err = d.healing(func() error {
		b := asPublic()
		b.Queue(enterPublicTenant, id).QueryRow(func(row pgx.Row) error { return row.Scan(nil) })
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
