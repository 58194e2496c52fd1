package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	replicaTimeout = time.Second            // bounds a read from a standby; after it the primary is asked
	replicaSlow    = 250 * time.Millisecond // a read that takes longer causes a question whether the standby answers
)

// errReplicaAway is returned without asking the standby.
var errReplicaAway = fmt.Errorf("%w: the standby does not answer; one attempt a second asks for it", ErrUnavailable)

// position selects the position of the write-ahead log; of a standby, the position
// it has replayed.
const position = `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end - '0/0'::pg_lsn`

// replayedPosition selects the position that a standby has replayed, and nothing of a server
// that is none: one that was promoted writes a log of its own, whose positions say nothing of
// the primary's. It must precede the reads it applies to.
const replayedPosition = `select pg_last_wal_replay_lsn() - '0/0'::pg_lsn where pg_is_in_recovery()`

// errNoStandby means that the server for reading is not, or no longer, a standby.
var errNoStandby = fmt.Errorf("%w: the server for reading is no standby", ErrUnavailable)

// HasReplica reports whether a standby is configured.
func (d *DB) HasReplica() bool { return d.reader != nil }

// PublicTenantOfReplica is PublicTenant on a standby. It also returns the position
// of the primary's log that the standby had replayed before; compare it with those
// of [Listener.Beat]. While it is in doubt that the standby answers it returns at once, so
// that one that hangs costs the callers nothing. Errors: ErrNoRows, ErrUnavailable.
func (d *DB) PublicTenantOfReplica(ctx context.Context, id uuid.UUID, slug string) (p Public, replayed uint64, err error) {
	if d.standby.inDoubt() {
		return Public{}, 0, errReplicaAway
	}
	slow := time.AfterFunc(replicaSlow, d.standby.suspect)
	defer slow.Stop()
	ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	b := asPublic()
	b.Queue(replayedPosition).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&replayed)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNoStandby
		}
		return err
	})
	p, err = publicTenantOf(ctx, d.reader, b, id, slug)
	if errors.Is(err, errNoStandby) {
		return Public{}, 0, err
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return Public{}, replayed, ErrNoRows
	}
	if isLost(err) {
		d.standby.suspect()
	}
	return p, replayed, markUnavailable(err)
}
