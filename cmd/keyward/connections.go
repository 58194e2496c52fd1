package main

import (
	"container/list"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// maxIdleBytes bounds what a connection sends outside of requests: its handshake, and the
// frames of HTTP/2 that belong to none (PING, SETTINGS, heads that never end).
const maxIdleBytes = 1 << 20

// defaultMaxConnections bounds the connections of an address if KEYWARD_MAX_CONNECTIONS
// is not set, unless the file descriptors of the process are fewer than four times that.
const defaultMaxConnections = 10_000

// boundConnections returns the bound for an address; set is that of the configuration, 0
// if there is none.
func boundConnections(set int) int {
	if set > 0 {
		return set
	}
	if files := fileLimit(); files > 0 {
		return min(defaultMaxConnections, max(100, files/4))
	}
	return defaultMaxConnections
}

// maxConnections reads KEYWARD_MAX_CONNECTIONS; 0: it is not set.
func (c *checks) maxConnections(s settings) int {
	if s.MaxConnections == "" {
		return 0
	}
	return c.number("KEYWARD_MAX_CONNECTIONS", s.MaxConnections, 10, 1_000_000)
}

// warnEvery is how often a connection guard says that its bound is reached.
const warnEvery = time.Minute

// connGuard bounds the connections of one HTTP server, so that file descriptors are left
// for PostgreSQL and the other address. Beyond the bound a new connection takes the place
// of the one without a request for the longest time; if all have requests, it is closed.
type connGuard struct {
	most int
	log  *slog.Logger

	swept atomic.Pointer[time.Time] // when deadlines were last compared with the clock

	mu       sync.Mutex
	idle     *list.List // of *guardedConn, the longest idle first
	open     map[*guardedConn]struct{}
	sweeping bool // sweepDeadlines runs
	warned   time.Time
}

// guardedConn is a connection of a connGuard.
type guardedConn struct {
	net.Conn
	guard       *connGuard
	read, write deadline

	// Owned by guard.mu.
	place     *list.Element // in idle; nil while there is a request
	closed    bool
	idleBytes int
}

// guardConns makes a server and its listener keep the bound; most is 0 for the default.
// Call it before the server serves the listener that it returns.
func guardConns(s *http.Server, l net.Listener, most int, log *slog.Logger) net.Listener {
	g := &connGuard{most: boundConnections(most), log: log, idle: list.New(), open: map[*guardedConn]struct{}{}}
	s.ConnState = g.noteState
	return &guardedListener{l, g}
}

// serveGuarded serves a listener with TLS if the server is configured for it.
func serveGuarded(s *http.Server, l net.Listener, most int, log *slog.Logger) error {
	l = guardConns(s, l, most, log)
	if s.TLSConfig != nil {
		return s.ServeTLS(l, "", "")
	}
	return s.Serve(l)
}

type guardedListener struct {
	net.Listener
	guard *connGuard
}

// Accept implements net.Listener.
func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.guard.admit(conn); c != nil {
			return c, nil
		}
		conn.Close()
	}
}

// admit returns nil for a connection that has no room.
func (g *connGuard) admit(conn net.Conn) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.open) >= g.most {
		if now := time.Now(); now.Sub(g.warned) >= warnEvery {
			g.warned = now
			g.log.Warn("connections exceed KEYWARD_MAX_CONNECTIONS: those without a request are closed for new ones", "limit", g.most)
		}
		oldest := g.idle.Front()
		if oldest == nil {
			return nil
		}
		oldest.Value.(*guardedConn).end()
	}
	c := &guardedConn{Conn: conn, guard: g}
	c.place = g.idle.PushBack(c)
	g.open[c] = struct{}{}
	if !g.sweeping {
		g.sweeping = true
		g.swept.Store(new(time.Now()))
		go g.sweepDeadlines()
	}
	return c
}

// noteState is the server's ConnState.
func (g *connGuard) noteState(conn net.Conn, state http.ConnState) {
	if secure, is := conn.(*tls.Conn); is {
		conn = secure.NetConn()
	}
	c, ours := conn.(*guardedConn)
	if !ours {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case c.closed:
	case state == http.StateActive && c.place != nil:
		g.idle.Remove(c.place)
		c.place, c.idleBytes = nil, 0
	case state == http.StateIdle && c.place == nil:
		c.place = g.idle.PushBack(c)
	}
}

// Read implements net.Conn. It ends a connection that sends much and asks for nothing.
func (c *guardedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	if c.place != nil && !c.closed {
		if c.idleBytes += n; c.idleBytes > maxIdleBytes {
			c.end()
		}
	}
	return n, err
}

// Close implements net.Conn.
func (c *guardedConn) Close() error {
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	return c.end()
}

// CloseWrite lets a client read an answer whose request was not read to its end
// (net/http looks for it).
func (c *guardedConn) CloseWrite() error {
	if half, can := c.Conn.(interface{ CloseWrite() error }); can {
		return half.CloseWrite()
	}
	return nil
}

// end closes the connection. The caller holds the guard's lock.
func (c *guardedConn) end() error {
	if c.closed {
		return c.Conn.Close()
	}
	c.closed = true
	delete(c.guard.open, c)
	if c.place != nil {
		c.guard.idle.Remove(c.place)
		c.place = nil
	}
	return c.Conn.Close()
}
