package db

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// IdempotentAnswer reads the stored answer to a request, and counts the answers stored for
// its credential and its tenant up to the given numbers, with the rights of InTenant in
// one round trip. Errors: ErrNoRows, with which stored is valid; ErrUnavailable.
func (d *DB) IdempotentAnswer(ctx context.Context, p GetIdempotencyKeyParams, mostOfCredential, mostOfTenant int64,
) (row GetIdempotencyKeyRow, stored CountIdempotencyKeysRow, err error) {
	err = d.retryOnce(ctx, func() error {
		var micros int64
		b := &pgx.Batch{}
		enterTenant(b, p.TenantID, &micros)
		b.Queue(countIdempotencyKeys, p.TenantID, p.CredentialID, mostOfCredential, mostOfTenant).QueryRow(func(row pgx.Row) error {
			return row.Scan(&stored.OfCredential, &stored.OfTenant)
		})
		b.Queue(getIdempotencyKey, p.TenantID, p.CredentialID, p.Key, p.ApprovalID).Query(func(rows pgx.Rows) (err error) {
			row, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[GetIdempotencyKeyRow])
			return err
		})
		return d.pool.SendBatch(ctx, b).Close()
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return GetIdempotencyKeyRow{}, stored, ErrNoRows
	}
	return row, stored, markUnavailable(err)
}
