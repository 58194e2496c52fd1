package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// RecoveryCheck checks the authentication code of a row of recoveries.
type RecoveryCheck func(epoch int64, at time.Time, operator string, mac []byte) error

// TrustRecoveries makes [Tx.CurrentEpoch] count the rows that check accepts. Call it when
// the key of the codes is open; until then no row counts.
func (d *DB) TrustRecoveries(check RecoveryCheck) { d.checkRecovery.Store(&check) }

// CurrentEpoch returns the number of the latest recovery of the database; 0: there was
// none. A row without a valid code does not count: somebody else wrote it.
func (t *Tx) CurrentEpoch(ctx context.Context) (int64, error) {
	current, _, err := t.epochs(ctx)
	return current, err
}

// NextEpoch returns the epoch that a recovery begins: the first one after the current
// one that no row has, which may be a row that does not count.
func (t *Tx) NextEpoch(ctx context.Context) (int64, error) {
	_, next, err := t.epochs(ctx)
	return next, err
}

func (t *Tx) epochs(ctx context.Context) (current, next int64, err error) {
	rows, err := t.ListRecoveries(ctx)
	if err != nil {
		return 0, 0, err
	}
	check, taken := t.checkRecovery.Load(), make(map[int64]bool, len(rows))
	for _, r := range rows {
		taken[r.Epoch] = true
		if check != nil && (*check)(r.Epoch, r.At, r.Operator, r.MAC) == nil {
			current = max(current, r.Epoch)
		}
	}
	for next = current + 1; taken[next]; {
		next++
	}
	return current, next, nil
}

// MaxSkippedTransactions is the largest number of transactions that
// [SkipTransactions] skips: each leaves about 50 bytes in the WAL.
const MaxSkippedTransactions = 1_000_000_000

// skippedAtOnce is how many transactions are skipped between two calls of progress.
const skippedAtOnce = 500_000

// FarBehindError says that the rows of a restored database name transactions that this
// server will not reach soon.
type FarBehindError struct {
	Stored, Unused uint64 // the latest that a row names, and the server's next one
}

// Error names the command that mends it.
func (e *FarBehindError) Error() string {
	return fmt.Sprintf("db: the rows come from a server that was at transaction %d, and this one is at %d: too many to skip; "+
		"restore into a new server that was prepared with pg_resetwal --epoch=%d --next-transaction-id=%d",
		e.Stored, e.Unused, e.Stored>>32, (e.Stored&0xffffffff)+1_000_000)
}

// SkipTransactions moves the server's transaction counter beyond every transaction that a
// row names, and returns by how many. Feeds and webhooks are ordered by that counter,
// which begins again on a new server: without it they would wait until the server got
// there. url is as for [MendGuards]; progress gets the number still to go. Errors:
// *FarBehindError, ErrUnavailable.
func SkipTransactions(ctx context.Context, url string, progress func(left uint64)) (skipped uint64, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, markUnavailable(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "set role keyward_platform; set synchronous_commit = off"); err != nil {
		return 0, markUnavailable(err)
	}
	for {
		at, err := New(conn).StoredTransactions(ctx)
		if err != nil {
			return skipped, markUnavailable(err)
		}
		if at.Stored < at.Unused {
			return skipped, nil
		}
		left := at.Stored - at.Unused + 1
		if skipped == 0 && left > MaxSkippedTransactions {
			return 0, &FarBehindError{at.Stored, at.Unused}
		}
		progress(left)
		n := min(left, skippedAtOnce)
		// A transaction that asks for its number uses it up.
		if _, err := conn.Exec(ctx, fmt.Sprintf("do $$ begin for i in 1..%d loop perform pg_current_xact_id(); commit; end loop; end $$", n)); err != nil {
			return skipped, markUnavailable(err)
		}
		skipped += n
	}
}
