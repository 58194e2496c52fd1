// Package age measures how long ago something happened by two clocks, of which the
// larger counts. It is internal to Keyward: no compatibility promise.
//
// The wall clock goes on while a machine sleeps, but can step in both directions. The
// monotonic clock never steps, but can stand still during sleep. An age by the wall clock
// alone stays young for an hour after the clock was set back by one.
//
// [time.Time] has both readings only until it is converted to UTC or truncated, which is
// what rows need, so an age is measured between two values of [Instant] instead.
package age

import (
	"math"
	"time"
)

// Instant is one moment on both clocks. The zero value is before every other.
type Instant struct {
	wall int64 // ns since 1970
	mono int64 // ns since a moment before the process read its first instant
}

var base = time.Now().Add(-time.Nanosecond)

// Read returns the present instant. now is the wall clock, which tests control; the
// monotonic clock is always the process's own.
func Read(now func() time.Time) Instant {
	return Instant{now().UnixNano(), int64(time.Since(base))}
}

// Now returns the present instant by the process's own clocks.
func Now() Instant { return Read(time.Now) }

// IsZero reports whether the instant is the zero value.
func (i Instant) IsZero() bool { return i.mono == 0 }

// Wall returns the instant's time in UTC.
func (i Instant) Wall() time.Time {
	if i.IsZero() {
		return time.Time{}
	}
	return time.Unix(0, i.wall).UTC()
}

// After reports whether i is later than j by the monotonic clock.
func (i Instant) After(j Instant) bool { return i.mono > j.mono }

// Step returns the instant as a process would have read it whose wall clock is off by d.
func (i Instant) Step(d time.Duration) Instant {
	if !i.IsZero() {
		i.wall += int64(d)
	}
	return i
}

// maxSlew is how far the wall clock may run backwards and count as corrected rather than
// stepped.
const maxSlew = time.Second

// Elapsed returns the time from i to now by the clock that shows more, at least 0. Use it
// where an age that is too small does no harm, as for rate limits.
func (i Instant) Elapsed(now Instant) time.Duration {
	if i.IsZero() {
		return math.MaxInt64
	}
	return time.Duration(max(now.wall-i.wall, now.mono-i.mono, 0))
}

// Within reports whether less than d has passed from i to now. It is false if the wall
// clock was set back meanwhile, because the true age is unknown then.
func (i Instant) Within(d time.Duration, now Instant) bool {
	if i.After(now) { // read later, by another goroutine
		return d > 0
	}
	return i.Elapsed(now) < d && now.wall-i.wall >= -int64(maxSlew)
}
