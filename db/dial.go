package db

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// unansweredLimit is how long data may stay unacknowledged by the machine at the other
// end before a connection counts as broken (TCP_USER_TIMEOUT, RFC 5482). Keep-alives find
// an idle one broken after about as long. Without them a connection whose peer has
// vanished hangs for a quarter of an hour.
const unansweredLimit = 10 * time.Second

// silentLimit is how long PostgreSQL may send nothing while an answer is awaited: more
// than a statement may take (transactionSettings). It ends waits that no context bounds, for a
// server that is frozen or behind a proxy that still acknowledges data.
const silentLimit = 75 * time.Second

// watchPeer makes the connections of a configuration notice a peer that has vanished.
func watchPeer(cfg *pgx.ConnConfig) {
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		Control:         limitUnanswered,
	}
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &boundedConn{Conn: conn, limit: silentLimit}, nil
	}
}

// boundedConn is a connection of which no read waits for longer than limit, unless a
// deadline is set.
type boundedConn struct {
	net.Conn
	limit time.Duration

	mu  sync.Mutex
	set bool // a deadline
}

// Read implements [net.Conn].
func (c *boundedConn) Read(p []byte) (int, error) {
	if err := c.bound(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *boundedConn) bound() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set {
		return nil
	}
	return c.Conn.SetReadDeadline(time.Now().Add(c.limit))
}

// SetDeadline implements [net.Conn].
func (c *boundedConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = !t.IsZero()
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *boundedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = !t.IsZero()
	return c.Conn.SetReadDeadline(t)
}
