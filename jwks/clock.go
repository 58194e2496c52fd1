package jwks

import (
	"math"
	"time"
)

// An instant is one moment on two clocks, in nanoseconds. The wall clock goes on
// while a machine sleeps, but can step in both directions; the monotonic clock
// never steps, but can stand still during sleep. Ages are judged by both.
type instant struct {
	wall int64
	mono int64
}

// clock reads the time of a client. Its wall clock is [Config.Now], if that is
// set; its monotonic clock is always the process's own.
type clock struct {
	now  func() time.Time // nil means time.Now
	base time.Time
}

func newClock(now func() time.Time) *clock { return &clock{now, time.Now()} }

// read returns the present instant.
func (c *clock) read() instant {
	if c.now == nil {
		t := time.Now()
		return instant{t.UnixNano(), int64(t.Sub(c.base))}
	}
	return instant{c.now().UnixNano(), int64(time.Since(c.base))}
}

// maxSlew is how far the wall clock may run backwards and count as corrected
// rather than stepped.
const maxSlew = time.Second

// elapsed returns the time from a to b: what the larger of the two clocks shows,
// at least 0. stepped reports that the wall clock was set back meanwhile, so that
// the true time can be longer than elapsed: an age is then too old, and a wait
// over.
func (a instant) elapsed(b instant) (elapsed time.Duration, stepped bool) {
	wall, mono := b.wall-a.wall, b.mono-a.mono
	if mono < 0 { // b was read before a, by another goroutine
		return 0, false
	}
	return time.Duration(max(wall, mono, 0)), wall < -int64(maxSlew)
}

// within reports whether less than d has passed from a to b.
func (a instant) within(d time.Duration, b instant) bool {
	elapsed, stepped := a.elapsed(b)
	return !stepped && elapsed < d
}

// time returns the instant's wall clock time in UTC.
func (a instant) time() time.Time { return time.Unix(0, a.wall).UTC() }

// A waitPeriod is a wait that began at an instant. The zero value is over.
type waitPeriod struct {
	from instant
	wait time.Duration
}

// isOver reports whether the wait has ended at now.
func (w waitPeriod) isOver(now instant) bool { return !w.from.within(w.wait, now) }

// addDurations adds without overflow.
func addDurations(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
