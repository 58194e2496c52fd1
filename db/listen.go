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
	// Clock, if set, compares this process's clock with the database's at each
	// heartbeat.
	Clock *DB
	// Heartbeat bounds how long a dead connection goes unnoticed; 0: 3 s.
	Heartbeat time.Duration

	// Self, if set, describes this process, which is then registered with each heartbeat
	// and answers those who wait until every process serves a change. It needs Clock.
	Self func() ProcessInfo

	nextBeat  time.Time // of Run alone
	ignoredAt time.Time // when a notification was last logged as ignored; of Run alone
	presence  presence

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
	defer l.unregister(ctx)
	pause := 50 * time.Millisecond
	for ctx.Err() == nil {
		err := l.listenOnce(ctx, func() { pause = 50 * time.Millisecond })
		l.up.Store(false)
		if ctx.Err() != nil {
			return
		}
		if l.Clock != nil && isLost(err) {
			l.Clock.suspectOutage()
		}
		l.Log.Warn("LISTEN connection lost; reconnecting", "error", err, "retry_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// connectTimeout bounds the connection of a listener and each of its statements, however short
// the time between heartbeats.
const connectTimeout = 3 * time.Second

// listenOnce listens on one connection until it fails.
func (l *Listener) listenOnce(ctx context.Context, connected func()) error {
	cfg, err := pgx.ParseConfig(l.URL)
	if err != nil {
		return err
	}
	cfg.ConnectTimeout = connectTimeout
	watchPeer(cfg)
	cfg.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { l.tell(n.Channel, n.Payload) }
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer closeAtOnce(conn)
	began := age.Now()
	begin, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if _, err := conn.Exec(begin, "listen "+changesChannel+"; listen "+confirmChannel); err != nil {
		return err
	}
	l.up.Store(true)
	l.Connected()
	if err := l.beat(begin, conn); err != nil { // registers this process before it may sign
		return err
	}
	l.alive.Store(&began)
	connected()
	for {
		if err := l.next(ctx, conn); err != nil {
			return err
		}
	}
}

// next waits for a notification, at most until the next heartbeat, which checks the
// connection with a statement: notifications of earlier commits arrive before its
// answer. A heartbeat comes also while notifications arrive all the time.
func (l *Listener) next(ctx context.Context, conn *pgx.Conn) error {
	if err := l.answerConfirmations(ctx, conn); err != nil {
		return err
	}
	wait, cancel := context.WithDeadline(ctx, l.nextBeat)
	err := conn.PgConn().WaitForNotification(wait)
	overdue := wait.Err() != nil
	cancel()
	if err == nil && !overdue {
		return nil
	}
	if ctx.Err() != nil || !overdue || conn.IsClosed() {
		return err
	}
	began := age.Now()
	ask, cancel := context.WithTimeout(ctx, max(l.interval(), connectTimeout))
	defer cancel()
	if err := l.beat(ask, conn); err != nil {
		return err
	}
	l.alive.Store(&began)
	return nil
}

// interval returns the time between heartbeats.
func (l *Listener) interval() time.Duration {
	if l.Heartbeat == 0 {
		return 3 * time.Second
	}
	return l.Heartbeat
}

// beat runs a statement on the connection, compares the clocks and reports the
// position to Beat.
func (l *Listener) beat(ctx context.Context, conn *pgx.Conn) error {
	l.nextBeat = time.Now().Add(l.interval())
	if err := l.register(ctx, conn, 0); err != nil {
		return err
	}
	var began reading
	if l.Clock != nil {
		began = l.Clock.clock.now()
	}
	sql := "select 1, " + databaseTime + ", 0::numeric"
	if l.Beat != nil {
		sql = "select 1, " + databaseTime + ", (" + position + ")"
	}
	var (
		micros int64
		at     uint64
	)
	if err := conn.QueryRow(ctx, sql).Scan(nil, &micros, &at); err != nil {
		return err
	}
	if l.Clock != nil {
		l.Clock.clock.measured(began, micros)
	}
	if l.Beat != nil {
		l.Beat(at)
	}
	return nil
}

// tell passes a payload to Changed.
func (l *Listener) tell(channel, payload string) {
	if channel == confirmChannel {
		l.hearConfirmation(payload)
		return
	}
	tenantID, slug, ok := parseChangePayload(payload)
	if !ok {
		if now := time.Now(); now.Sub(l.ignoredAt) < time.Minute {
			return // every login may notify: it does not fill the log
		}
		l.ignoredAt = time.Now()
		l.Log.Warn("notification ignored: its payload is not a tenant id and a slug", "channel", changesChannel)
		return
	}
	l.Changed(tenantID, slug)
}
