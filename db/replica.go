package db

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// replicaTimeout bounds a read from a standby; after it the primary is asked.
const replicaTimeout = time.Second

// position selects the position of the write-ahead log; of a standby, the position
// it has replayed. It must precede the reads it applies to.
const position = `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end - '0/0'::pg_lsn`

// HasReplica reports whether a standby is configured.
func (d *DB) HasReplica() bool { return d.reader != nil }

// PublicTenantOfReplica is PublicTenant on a standby. It also returns the position
// of the primary's log that the standby had replayed before; compare it with those
// of [Listener.Beat]. Errors: ErrNoRows, ErrUnavailable.
func (d *DB) PublicTenantOfReplica(ctx context.Context, id uuid.UUID, slug string) (p Public, replayed uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	b := asPublic()
	b.Queue(position).QueryRow(func(row pgx.Row) error { return row.Scan(&replayed) })
	p, err = publicTenantOf(ctx, d.reader, b, id, slug)
	return p, replayed, markUnavailable(err)
}
