package db

import (
	"fmt"
	"sync"
	"time"
)

// MaxClockOffset is how far the clock of this process may be from the database's. A
// process beyond it neither changes nor signs: times that it wrote would be wrong for
// good. It is below the 5 s by which the database itself accepts a time.
const MaxClockOffset = 2 * time.Second

// ErrClock means that the clock of this process differs from the database's by more
// than [MaxClockOffset], or that the database refused the time of a change. It is an
// ErrUnavailable that ends by itself when the clocks agree again.
var ErrClock = fmt.Errorf("%w to this process: its clock differs from the database's", ErrUnavailable)

// databaseTime selects the database's clock in microseconds since 1970.
const databaseTime = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"

// clockMonitor compares the clock of this process with the database's. A round trip
// yields an interval that contains the offset; its width is the length of the round
// trip, so that a slow network widens it and never moves it out. Between two round trips
// it follows steps of the wall clock, which the monotonic clock does not make.
type clockMonitor struct {
	now func() reading

	mu        sync.Mutex
	known     bool
	at        reading       // when it was measured
	low, high time.Duration // this clock minus the database's
}

// reading is the time on the two clocks of this process.
type reading struct {
	wall      time.Time
	monotonic time.Duration // since some moment
}

// readClocks returns a function that reads both clocks; wall is nil for the machine's.
func readClocks(wall func() time.Time) func() reading {
	start := time.Now()
	return func() reading {
		now := time.Now()
		r := reading{now.Round(0), now.Sub(start)}
		if wall != nil {
			r.wall = wall().Round(0)
		}
		return r
	}
}

const (
	preciseRoundTrip = time.Second      // a measurement this narrow replaces any other
	measurementAge   = 30 * time.Second // and any measurement replaces one this old
)

// measured records the database's clock, read between began and now. micros is in
// microseconds since 1970; 0: not read.
func (m *clockMonitor) measured(began reading, micros int64) {
	if micros == 0 {
		return
	}
	ended := m.now()
	elapsed := ended.monotonic - began.monotonic
	high := ended.wall.Sub(time.UnixMicro(micros))
	low := high - elapsed
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known && elapsed > preciseRoundTrip && ended.monotonic-m.at.monotonic < measurementAge && !isOff(low, high) {
		return
	}
	m.known, m.at, m.low, m.high = true, ended, low, high
}

// bounds returns the interval that contains the offset now. known is false before the
// first measurement.
func (m *clockMonitor) bounds() (low, high time.Duration, known bool) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	step := now.wall.Sub(m.at.wall) - (now.monotonic - m.at.monotonic)
	return m.low + step, m.high + step, m.known
}

// isOff reports whether every offset between low and high is too large.
func isOff(low, high time.Duration) bool { return low > MaxClockOffset || high < -MaxClockOffset }

// check returns ErrClock if the offset is certainly too large.
func (m *clockMonitor) check() error {
	low, high, known := m.bounds()
	if !known || !isOff(low, high) {
		return nil
	}
	return fmt.Errorf("%w by %s (allowed: %s)", ErrClock, ((low + high) / 2).Round(time.Millisecond), MaxClockOffset)
}

// CheckClock returns ErrClock if the clock of this process is known to differ from the
// database's by more than [MaxClockOffset]. It asks nobody: each transaction, and the
// Listener if its Clock is this DB, compares the clocks.
func (d *DB) CheckClock() error { return d.clock.check() }

// CheckClock is [DB.CheckClock] right after the comparison that began the transaction.
// Call it before a write of times that no audit event goes with, which AppendAudit
// would refuse.
func (t *Tx) CheckClock() error { return t.clock.check() }

// ClockOffset returns by how much the clock of this process is ahead of the
// database's. known is false before the first transaction.
func (d *DB) ClockOffset() (offset time.Duration, known bool) {
	low, high, known := d.clock.bounds()
	return (low + high) / 2, known
}
