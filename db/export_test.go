package db

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
)

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

// MigrateTo applies the migrations up to a version.
func MigrateTo(ctx context.Context, url string, version int64) error {
	return withGoose(url, func(p *goose.Provider) error {
		_, err := p.UpTo(ctx, version)
		return err
	})
}
