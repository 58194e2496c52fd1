package db

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// evidenceChunk is how many keys one transaction of RecordSignatures locks, for about
// a millisecond each.
const evidenceChunk = 100

// RecordSignatures records the last signatures of keys of any tenants, in the order
// given, and returns the keys that were recorded: those that another transaction has
// locked are left out. Nobody waits for it, and it waits for nobody: each transaction
// is a single round trip of a few keys, so that a process that stops in between holds
// no lock. Without an explicit BEGIN a pipeline is one transaction. Errors:
// ErrUnavailable, together with the keys recorded before.
func (d *DB) RecordSignatures(ctx context.Context, p RecordSignaturesParams) (recorded []RecordSignaturesRow, err error) {
	for from := 0; from < len(p.Kids); from += evidenceChunk {
		to := min(from+evidenceChunk, len(p.Kids))
		var rows []RecordSignaturesRow
		err := d.repeat(ctx, func() error {
			b := &pgx.Batch{}
			b.Queue("select set_config('role', 'keyward_platform', true), " + transactionSettings)
			queueRows(b, &rows, recordSignatures, p.TenantIds[from:to], p.Kids[from:to], p.SignedAts[from:to], p.TokenExpiresAts[from:to])
			return d.pool.SendBatch(ctx, b).Close()
		})
		if err != nil {
			return recorded, err
		}
		recorded = append(recorded, rows...)
	}
	return recorded, nil
}
