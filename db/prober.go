package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// prober asks PostgreSQL for its state on a connection of its own: the pool may be used
// up by requests that wait for one lock, and PostgreSQL well.
type prober struct {
	cfg  *pgx.ConnConfig
	turn chan struct{} // holds an element while the connection is in use
	conn *pgx.Conn     // nil: not connected
}

func newProber(cfg *pgx.ConnConfig) *prober {
	return &prober{cfg: cfg, turn: make(chan struct{}, 1)}
}

// State is what a probe finds.
type State struct {
	Writable bool // false: a standby, or read-only
	Pending  int  // migrations of this program that the database lacks; negative: it is newer
}

// Probe asks PostgreSQL for its state, and compares the clocks, on a connection that nothing else uses. A call
// waits for those before it. During an outage it does not ask, and waits briefly for its end. Errors: ErrUnavailable;
// others if the schema cannot be read.
func (d *DB) Probe(ctx context.Context) (s State, err error) {
	if err := d.awaitOutageEnd(ctx); err != nil {
		return State{}, markUnavailable(err)
	}
	err = d.probe.use(ctx, func(conn *pgx.Conn) (err error) {
		const writable = "select not pg_is_in_recovery() and not current_setting('default_transaction_read_only')::boolean, " + databaseTime
		var micros int64
		began := d.clock.now()
		if err := conn.QueryRow(ctx, writable).Scan(&s.Writable, &micros); err != nil {
			return err
		}
		d.clock.measured(began, micros)
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer rollBack(ctx, tx)
		s.Pending, err = pendingMigrations(ctx, tx)
		return err
	})
	if isLost(err) {
		d.suspectOutage()
	}
	return s, markUnavailable(err)
}

// use runs fn with the connection, and again on a new one if the old had ended unnoticed.
func (p *prober) use(ctx context.Context, fn func(*pgx.Conn) error) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	reused := p.conn != nil
	err := p.try(ctx, fn)
	if err != nil && reused && p.conn == nil && ctx.Err() == nil {
		err = p.try(ctx, fn)
	}
	return err
}

// try runs fn with the connection, which it opens if need be and closes after an error of
// the connection.
func (p *prober) try(ctx context.Context, fn func(*pgx.Conn) error) (err error) {
	if p.conn == nil {
		if p.conn, err = pgx.ConnectConfig(ctx, p.cfg); err != nil {
			p.conn = nil
			return err
		}
	}
	if err = fn(p.conn); err != nil && isUnavailable(err) || p.conn.IsClosed() {
		p.drop()
	}
	return err
}

// drop closes the connection without waiting for PostgreSQL.
func (p *prober) drop() {
	if p.conn == nil {
		return
	}
	closeAtOnce(p.conn)
	p.conn = nil
}

// closeAtOnce closes a connection; the farewell to PostgreSQL waits for no answer.
func closeAtOnce(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx)
}

// close closes the connection, once the probes are over.
func (p *prober) close() {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	p.drop()
}
