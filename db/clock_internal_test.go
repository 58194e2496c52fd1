package db

import (
	"errors"
	"testing"
	"time"
)

// twoClocks are those of a process, which tests move.
type twoClocks struct{ reading }

func newTwoClocks() (*twoClocks, *clockMonitor) {
	c := &twoClocks{reading{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}
	return c, &clockMonitor{now: func() reading { return c.reading }}
}

func (c *twoClocks) pass(d time.Duration) { c.wall, c.monotonic = c.wall.Add(d), c.monotonic+d }
func (c *twoClocks) set(d time.Duration)  { c.wall = c.wall.Add(d) }

// ask is a round trip of a clock that is ahead of the database's.
func (c *twoClocks) ask(m *clockMonitor, ahead, out, back time.Duration) error {
	began := c.reading
	c.pass(out)
	micros := c.wall.Add(-ahead).UnixMicro()
	c.pass(back)
	m.measured(began, micros)
	return m.check()
}

// An offset counts only as far as the round trip proves it: a slow network neither
// makes a good clock bad nor a bad one good.
func TestClockOffsetIsMeasuredByTheRoundTrip(t *testing.T) {
	for _, tc := range []struct {
		name             string
		ahead, out, back time.Duration
		off              bool
	}{
		{"equal", 0, time.Millisecond, time.Millisecond, false},
		{"1.9 s ahead", 1900 * time.Millisecond, time.Millisecond, time.Millisecond, false},
		{"2.1 s ahead", 2100 * time.Millisecond, time.Millisecond, time.Millisecond, true},
		{"2.1 s behind", -2100 * time.Millisecond, time.Millisecond, time.Millisecond, true},
		{"equal, slow request", 0, 9 * time.Second, time.Millisecond, false},
		{"equal, slow answer", 0, time.Millisecond, 9 * time.Second, false},
		{"1 h ahead, slow", time.Hour, 4 * time.Second, 4 * time.Second, true},
		{"1 h behind, slow", -time.Hour, 4 * time.Second, 4 * time.Second, true},
	} {
		c, m := newTwoClocks()
		if m.check() != nil {
			t.Errorf("%s: off before the first measurement", tc.name)
		}
		err := c.ask(m, tc.ahead, tc.out, tc.back)
		if (err != nil) != tc.off || err != nil && !(errors.Is(err, ErrClock) && errors.Is(err, ErrUnavailable)) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// A slow round trip does not replace what a quick one has found, unless it is
// certain or nothing else comes; and a clock that was set right is right again.
func TestClockRecovers(t *testing.T) {
	c, m := newTwoClocks()
	if c.ask(m, 3*time.Second, 0, time.Millisecond) == nil {
		t.Error("3 s ahead is accepted")
	}
	if c.ask(m, 3*time.Second, 4*time.Second, 4*time.Second) == nil {
		t.Error("a slow round trip, in which anything is possible, has made the clock right")
	}
	if err := c.ask(m, 0, 0, time.Millisecond); err != nil {
		t.Error("after the clock was set:", err)
	}
	if c.ask(m, time.Minute, 4*time.Second, 4*time.Second) == nil {
		t.Error("a minute is certain, however slow the round trip")
	}
	c.pass(measurementAge)
	if err := c.ask(m, 0, 4*time.Second, 4*time.Second); err != nil {
		t.Error("an old measurement outlives a new one:", err)
	}
}

// A step of the wall clock counts at once, in either direction and back; time that
// passes does not.
func TestClockFollowsSteps(t *testing.T) {
	c, m := newTwoClocks()
	_ = c.ask(m, 0, 0, time.Millisecond)
	c.pass(24 * time.Hour)
	if err := m.check(); err != nil {
		t.Error("after a day:", err)
	}
	for _, step := range []time.Duration{time.Hour, -time.Hour, 3 * time.Second, -3 * time.Second} {
		c.set(step)
		if err := m.check(); !errors.Is(err, ErrClock) {
			t.Errorf("a step of %s: %v", step, err)
		}
		c.set(-step)
		if err := m.check(); err != nil {
			t.Errorf("a step of %s, taken back: %v", step, err)
		}
	}
}
