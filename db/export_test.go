package db

import "github.com/jackc/pgx/v5/pgxpool"

// Raw lets tests run statements that the program does not have.
func (t *Tx) Raw() DBTX { return t.tx }

// Pool lets tests look at connections as the doors leave them.
func (d *DB) Pool() *pgxpool.Pool { return d.pool }

// ReadGuards and CompareGuards let tests write and compare guards.json.
var (
	ReadGuards    = readGuards
	CompareGuards = compareGuards
)

// ErrReplicaAway lets tests tell that a standby was not asked.
var ErrReplicaAway = errReplicaAway

// StandbyOutage lets tests wait until a standby answers again: nil while it does.
func (d *DB) StandbyOutage() <-chan struct{} {
	if o := d.standby.current.Load(); o != nil {
		return o.over
	}
	return nil
}
