package db

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// IdempotentAnswer reads the stored answer to a request, with the rights of InTenant in
// one round trip. Errors: ErrNoRows, ErrUnavailable.
func (d *DB) IdempotentAnswer(ctx context.Context, p GetIdempotencyKeyParams) (row GetIdempotencyKeyRow, err error) {
	err = d.retryOnce(ctx, func() error {
		var micros int64
		b := &pgx.Batch{}
		enterTenant(b, p.TenantID, &micros)
		b.Queue(getIdempotencyKey, p.TenantID, p.CredentialID, p.Key, p.ApprovalID).Query(func(rows pgx.Rows) (err error) {
			row, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[GetIdempotencyKeyRow])
			return err
		})
		return d.pool.SendBatch(ctx, b).Close()
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return GetIdempotencyKeyRow{}, ErrNoRows
	}
	return row, markUnavailable(err)
}
