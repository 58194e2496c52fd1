package db

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Listener hears of changes as they commit, on a connection of its own.
type Listener struct {
	// URL leads straight to PostgreSQL or through a session pooler: LISTEN
	// does not work through a transaction pooler.
	URL string
	// Changed is called for every tenant that changed, in the order of commits.
	Changed func(tenantID uuid.UUID, slug string)
	// Connected is called each time listening begins; what was cached before
	// may have changed unheard.
	Connected func()
	Log       *slog.Logger
	// Beat, if set, is told now and then how far the primary's write-ahead log
	// had got: what was heard of before one call lies below what the next tells.
	Beat func(position uint64)
	// Heartbeat bounds how long a dead connection goes unnoticed; 0: 3 s.
	Heartbeat time.Duration

	alive atomic.Int64 // UnixNano of the last proof that nothing can have been missed
	up    atomic.Bool
}

// Up says whether the listener is connected.
func (l *Listener) Up() bool { return l.up.Load() }

// HeardUntil is the last time at which everything committed before it had
// been heard of; zero if never. It is read from this process's clock.
func (l *Listener) HeardUntil() time.Time {
	n := l.alive.Load()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// Run listens until ctx is over, connecting again with growing pauses.
func (l *Listener) Run(ctx context.Context) {
	pause := 50 * time.Millisecond
	for ctx.Err() == nil {
		err := l.session(ctx, func() { pause = 50 * time.Millisecond })
		l.up.Store(false)
		if ctx.Err() != nil {
			return
		}
		l.Log.Warn("listening for changes interrupted", "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// session is the life of one connection.
func (l *Listener) session(ctx context.Context, connected func()) error {
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
	began := time.Now()
	if _, err := conn.Exec(ctx, "listen "+changesChannel); err != nil {
		return err
	}
	l.Connected()
	l.alive.Store(began.UnixNano())
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

// next waits for notifications, or proves after a while that the connection
// still brings them: those of earlier commits come before the answer to a
// statement, and are told of before it.
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
	began := time.Now()
	ask, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	if err := l.beat(ask, conn); err != nil {
		return err
	}
	l.alive.Store(began.UnixNano())
	return nil
}

// beat makes the connection prove itself.
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

func (l *Listener) tell(payload string) {
	tenantID, slug, ok := parseChangePayload(payload)
	if !ok {
		l.Log.Warn("notification not understood", "channel", changesChannel)
		return
	}
	l.Changed(tenantID, slug)
}
