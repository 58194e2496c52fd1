package db

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Public is the public data of a tenant.
type Public struct {
	// Tenant includes the rendered JWK Set. If its JWKS is nil the set is out of
	// date, and the following fields are the data to render it from.
	Tenant    PublicTenantRow
	Keys      []PublishedKeysRow
	Policies  []PublicPoliciesRow
	ChangedAt time.Time // of the tenant's last audit event
}

// PublicTenant reads a live tenant by its id, or by its slug if id is uuid.Nil,
// under the role that cannot read secrets: in one round trip, or two if its JWK Set
// is out of date. Errors: ErrNoRows, ErrUnavailable.
func (d *DB) PublicTenant(ctx context.Context, id uuid.UUID, slug string) (p Public, err error) {
	err = d.retryOnce(ctx, func() (err error) {
		p, err = d.readPublic(ctx, id, slug)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Public{}, ErrNoRows
	}
	return p, markUnavailable(err)
}

// readPublic reads with the role that connections have between transactions. If it
// finds nothing it tries again with an explicit role.
func (d *DB) readPublic(ctx context.Context, id uuid.UUID, slug string) (Public, error) {
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

// asPublic returns a pipeline under the role keyward_public. Without an explicit
// BEGIN a pipeline is one transaction, and the role ends with it.
func asPublic() *pgx.Batch {
	b := &pgx.Batch{}
	b.Queue("select set_config('role', 'keyward_public', true)")
	return b
}

// publicTenantOf reads a tenant in a pipeline of asPublic.
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

// complete reads the data to render the JWK Set from if the set is out of date. It
// may be of a later version than the tenant, never of an earlier one.
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

// TenantOfDomain returns the live tenant with a custom domain, under the role of
// PublicTenant. Errors: ErrNoRows, ErrUnavailable.
func (d *DB) TenantOfDomain(ctx context.Context, domain string) (id uuid.UUID, err error) {
	err = d.retryOnce(ctx, func() error {
		b := asPublic()
		b.Queue(tenantOfDomain, domain).QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
		return d.pool.SendBatch(ctx, b).Close()
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, ErrNoRows
	}
	return id, markUnavailable(err)
}

// PublicKeyHistory reads the keys of a live tenant that ever signed, under the role
// that cannot read secrets, in one round trip. Errors: ErrNoRows,
// ErrUnavailable.
func (d *DB) PublicKeyHistory(ctx context.Context, id uuid.UUID) (history []PublicKeyHistoryRow, err error) {
	err = d.retryOnce(ctx, func() error {
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
	return history, markUnavailable(err)
}
