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
