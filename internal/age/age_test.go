package age_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyward/keyward/internal/age"
)

// The larger of the two clocks counts, and an age below zero is too old for every limit.
func TestAnAgeByTwoClocks(t *testing.T) {
	for _, c := range []struct {
		name        string
		step, sleep time.Duration
		elapsed     time.Duration
		within      bool // a minute
	}{
		{"nothing happens", 0, 0, 0, true},
		{"time passes", 0, 50 * time.Second, 50 * time.Second, true},
		{"too much of it", 0, time.Minute, time.Minute, false},
		{"set back, and time passes", -time.Hour, time.Minute, time.Minute, false},
		{"set back just now", -time.Hour, time.Second, time.Second, false},
		{"set back while as much passes", -time.Minute, time.Minute, time.Minute, false},
		{"corrected", -500 * time.Millisecond, 0, 0, true},
		{"set ahead, or asleep", time.Hour, time.Second, time.Hour + time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var offset time.Duration
				wall := func() time.Time { return time.Now().UTC().Add(offset).Truncate(time.Microsecond) }
				began := age.Read(wall)
				offset = c.step
				time.Sleep(c.sleep)
				now := age.Read(wall)
				if got := began.Elapsed(now); got.Round(time.Millisecond) != c.elapsed {
					t.Errorf("elapsed %v, want %v", got, c.elapsed)
				}
				if got := began.Within(time.Minute, now); got != c.within {
					t.Errorf("within a minute: %v", got)
				}
			})
		})
	}
	if never := (age.Instant{}); never.Within(time.Hour, age.Now()) || age.Now().IsZero() || !never.Wall().IsZero() {
		t.Error("the zero instant is not before all others")
	}
}
