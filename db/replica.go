package db

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// replicaPatience is how long a standby may take; the primary is asked then.
const replicaPatience = time.Second

// position is where the write-ahead log is: of a standby, how far it has been
// replayed; it is asked before everything else that is read with it.
const position = `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end - '0/0'::pg_lsn`

// HasReplica says whether a standby was configured.
func (d *DB) HasReplica() bool { return d.reader != nil }

// PublicTenantOfReplica is PublicTenant as a standby knows the tenant, and how
// far that had replayed the primary's log before it was asked. Whoever uses
// the answer knows from [Listener.Beat] how far it must have. Errors:
// ErrNoRows, ErrUnavailable.
func (d *DB) PublicTenantOfReplica(ctx context.Context, id uuid.UUID, slug string) (p Public, replayed uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, replicaPatience)
	defer cancel()
	b := asPublic()
	b.Queue(position).QueryRow(func(row pgx.Row) error { return row.Scan(&replayed) })
	p, err = publicTenantOf(ctx, d.reader, b, id, slug)
	return p, replayed, wrap(err)
}
