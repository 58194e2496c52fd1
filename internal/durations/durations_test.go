package durations_test

import (
	"testing"
	"time"

	"github.com/keyward/keyward/internal/durations"
)

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 seconds", -time.Hour: "0 seconds", 999 * time.Millisecond: "0 seconds", time.Second: "1 second",
		24 * time.Hour: "1 day", 36 * time.Hour: "1 day 12 hours", 90*time.Second + time.Millisecond: "1 minute 30 seconds",
		49*time.Hour + 2*time.Second: "2 days 1 hour 2 seconds",
	} {
		if got := durations.Words(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
