package main

import (
	"sync"
	"time"
)

// sweepInterval is by how much a deadline of a connection may be late.
const sweepInterval = 500 * time.Millisecond

// deadline is when reads or writes of a connection fail. net/http moves four of them for
// each request, and each time the runtime would move a timer: those of the future are
// only remembered here, and a sweep over all connections of a server tells the connection
// once they are over.
type deadline struct {
	mu   sync.Mutex
	at   time.Time // in the future; zero: none
	over bool      // the connection's own deadline is in the past
}

// set is SetReadDeadline or SetWriteDeadline, which pass is of the connection below. swept is
// a time shortly before now, which spares reading the clock.
func (d *deadline) set(t, swept time.Time, pass func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = time.Time{}
	if !t.IsZero() && !t.After(swept) { // as net/http interrupts a read
		d.over = true
		return pass(t)
	}
	d.at = t
	if !d.over {
		return nil
	}
	d.over = false
	return pass(time.Time{})
}

// sweep ends what is over.
func (d *deadline) sweep(now time.Time, pass func(time.Time) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() || d.at.After(now) {
		return
	}
	d.at, d.over = time.Time{}, true
	_ = pass(time.Unix(1, 0)) // fails only for a connection that is closed
}

// SetReadDeadline implements net.Conn; it may be late by sweepInterval.
func (c *guardedConn) SetReadDeadline(t time.Time) error {
	return c.read.set(t, *c.guard.swept.Load(), c.Conn.SetReadDeadline)
}

// SetWriteDeadline implements net.Conn; it may be late by sweepInterval.
func (c *guardedConn) SetWriteDeadline(t time.Time) error {
	return c.write.set(t, *c.guard.swept.Load(), c.Conn.SetWriteDeadline)
}

// SetDeadline implements net.Conn.
func (c *guardedConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// sweepDeadlines runs while connections are open.
func (g *connGuard) sweepDeadlines() {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for range tick.C {
		if !g.sweep(time.Now()) {
			return
		}
	}
}

// sweep reports whether to go on, which is while connections are open.
func (g *connGuard) sweep(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.swept.Store(&now)
	for c := range g.open {
		c.read.sweep(now, c.Conn.SetReadDeadline)
		c.write.sweep(now, c.Conn.SetWriteDeadline)
	}
	g.sweeping = len(g.open) > 0
	return g.sweeping
}
