package db

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	probeInterval = time.Second // between two questions whether PostgreSQL is back
	probeTimeout  = time.Second // for each of them
)

// prober asks PostgreSQL for its state on a connection of its own: the pool may be used
// up by requests that wait for one lock, and PostgreSQL well.
type prober struct {
	cfg  *pgx.ConnConfig
	turn chan struct{} // holds an element while the connection is in use
	conn *pgx.Conn     // nil: not connected

	mu     sync.Mutex
	outage chan struct{} // closed when PostgreSQL answers again; nil while it does
	stop   context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
}

func newProber(cfg *pgx.ConnConfig) *prober {
	ctx, stop := context.WithCancel(context.Background())
	return &prober{cfg: cfg, turn: make(chan struct{}, 1), ctx: ctx, stop: stop}
}

// State is what a probe finds.
type State struct {
	Writable bool // false: a standby, or read-only
	Pending  int  // migrations of this program that the database lacks; negative: it is newer
}

// Probe asks PostgreSQL for its state, and compares the clocks, on a connection that nothing else uses. A call
// waits for those before it. Errors: ErrUnavailable; others if the schema cannot be read.
func (d *DB) Probe(ctx context.Context) (s State, err error) {
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

// close ends the probes and closes the connection.
func (p *prober) close() {
	p.stop()
	p.wg.Wait()
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	p.drop()
}

// Outage returns nil while PostgreSQL answers as far as anybody knows. After
// [DB.ReportOutage] it returns a channel, which is closed once PostgreSQL answers again:
// until then a caller with an alternative need not ask.
func (d *DB) Outage() <-chan struct{} {
	d.probe.mu.Lock()
	defer d.probe.mu.Unlock()
	return d.probe.outage
}

// ReportOutage tells that a statement found PostgreSQL away or hanging. From now on one
// attempt a second asks whether it is back.
func (d *DB) ReportOutage() {
	p := d.probe
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.outage != nil || p.ctx.Err() != nil {
		return
	}
	p.outage = make(chan struct{})
	p.wg.Go(func() { d.awaitEnd(p.outage) })
}

// awaitEnd asks until PostgreSQL answers, and ends the outage.
func (d *DB) awaitEnd(outage chan struct{}) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for !d.probe.answers() {
		select {
		case <-tick.C:
		case <-d.probe.ctx.Done():
			return
		}
	}
	d.pool.Reset() // its idle connections may lead nowhere
	d.probe.mu.Lock()
	defer d.probe.mu.Unlock()
	d.probe.outage = nil
	close(outage)
}

func (p *prober) answers() bool {
	ctx, cancel := context.WithTimeout(p.ctx, probeTimeout)
	defer cancel()
	return p.use(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "select 1")
		return err
	}) == nil
}
