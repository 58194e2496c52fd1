package db

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// SealedKey reads one tenant's active key, sealed, with its wrapped data key. It has
// the rights of InTenant in one round trip instead of three, because a request for
// a signature waits for it. Without an explicit BEGIN a pipeline is one
// transaction, and role and tenant end with it. Errors: ErrNoRows, ErrUnavailable.
func (d *DB) SealedKey(ctx context.Context, tenantID uuid.UUID, kid string) (key GetSealedKeyRow, err error) {
	err = d.retryOnce(ctx, func() error {
		var micros int64
		b := &pgx.Batch{}
		enterTenant(b, tenantID, &micros)
		b.Queue(getSealedKey, tenantID, kid).Query(func(rows pgx.Rows) (err error) {
			key, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[GetSealedKeyRow])
			return err
		})
		conn, err := d.pool.Acquire(ctx) // before the round trip that is measured
		if err != nil {
			return err
		}
		defer conn.Release()
		began := d.clock.now()
		err = conn.SendBatch(ctx, b).Close()
		d.clock.measured(began, micros) // also where there is no such key
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return GetSealedKeyRow{}, ErrNoRows
	}
	return key, markUnavailable(err)
}
