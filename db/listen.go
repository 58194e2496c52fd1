package db

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/keyward/keyward/internal/age"
)

// Listener receives notifications of changes as they commit, on its own connection.
type Listener struct {
	// URL leads straight to PostgreSQL or through a session pooler: LISTEN
	// does not work through a transaction pooler.
	URL string
	// Changed is called for every tenant that changed, in the order of commits.
	Changed func(tenantID uuid.UUID, slug string)
	// Connected is called each time LISTEN begins: entries cached before may be out
	// of date.
	Connected func()
	Log       *slog.Logger
	// Beat, if set, is called regularly with the position of the primary's
	// write-ahead log: changes received before one call lie below the position of
	// the next.
	Beat func(position uint64)
	// Heartbeat bounds how long a dead connection goes unnoticed; 0: 3 s.
	Heartbeat time.Duration

	alive atomic.Pointer[age.Instant] // the last proof that no notification was missed; nil: none yet
	up    atomic.Bool
}

// Up reports whether LISTEN is connected.
func (l *Listener) Up() bool { return l.up.Load() }

// HeardUntil returns an instant of this process's clocks: every change committed before
// it has been received. It is zero before the first connection.
func (l *Listener) HeardUntil() age.Instant {
	if at := l.alive.Load(); at != nil {
		return *at
	}
	return age.Instant{}
}

// Run listens until ctx ends. It reconnects with increasing back-off.
func (l *Listener) Run(ctx context.Context) {
	pause := 50 * time.Millisecond
	for ctx.Err() == nil {
		err := l.listenOnce(ctx, func() { pause = 50 * time.Millisecond })
		l.up.Store(false)
		if ctx.Err() != nil {
			return
		}
		l.Log.Warn("LISTEN connection lost; reconnecting", "error", err, "retry_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// listenOnce listens on one connection until it fails.
func (l *Listener) listenOnce(ctx context.Context, connected func()) error {
	cfg, err := pgx.ParseConfig(l.URL)
	if err != nil {
		return err
	}
	cfg.ConnectTimeout = 3 * time.Second
	cfg.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { l.tell(n.Payload) }
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	began := age.Now()
	if _, err := conn.Exec(ctx, "listen "+changesChannel); err != nil {
		return err
	}
	l.Connected()
	l.alive.Store(&began)
	l.up.Store(true)
	connected()
	if err := l.beat(ctx, conn); err != nil {
		return err
	}
	for {
		if err := l.next(ctx, conn); err != nil {
			return err
		}
	}
}

// next waits for a notification, at most for a heartbeat, and then checks the
// connection with a statement: notifications of earlier commits arrive before its
// answer.
func (l *Listener) next(ctx context.Context, conn *pgx.Conn) error {
	beat := l.Heartbeat
	if beat == 0 {
		beat = 3 * time.Second
	}
	wait, cancel := context.WithTimeout(ctx, beat)
	err := conn.PgConn().WaitForNotification(wait)
	overdue := wait.Err() != nil
	cancel()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil || !overdue || conn.IsClosed() {
		return err
	}
	began := age.Now()
	ask, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	if err := l.beat(ask, conn); err != nil {
		return err
	}
	l.alive.Store(&began)
	return nil
}

// beat runs a statement on the connection and reports the position to Beat.
func (l *Listener) beat(ctx context.Context, conn *pgx.Conn) error {
	if l.Beat == nil {
		_, err := conn.Exec(ctx, "select 1")
		return err
	}
	var at uint64
	if err := conn.QueryRow(ctx, position).Scan(&at); err != nil {
		return err
	}
	l.Beat(at)
	return nil
}

// tell passes a payload to Changed.
func (l *Listener) tell(payload string) {
	tenantID, slug, ok := parseChangePayload(payload)
	if !ok {
		l.Log.Warn("notification ignored: its payload is not a tenant id and a slug", "channel", changesChannel)
		return
	}
	l.Changed(tenantID, slug)
}
