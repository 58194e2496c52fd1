package retryafter

import (
	"net/http"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "0007": 7 * time.Second,
		"-5": 0, "+5": 0, "1.5": 0, "7s": 0, "soon": 0, "７": 0,
		"86400": Max, "86401": Max, "99999999999999999999999999": Max,
		date(90 * time.Second): 90 * time.Second, date(-time.Hour): 0, date(1000 * time.Hour): Max,
		"Friday, 01-May-26 12:00:30 GMT": 30 * time.Second, "2026-05-01T12:00:30Z": 0,
	} {
		if got := Parse(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	if got := Parse(http.Header{}, now); got != 0 {
		t.Errorf("no field: %v", got)
	}
	// A server whose clock is an hour ahead means 90 seconds, not an hour.
	ahead := http.Header{"Retry-After": {date(time.Hour + 90*time.Second)}, "Date": {date(time.Hour)}}
	if got := Parse(ahead, now); got != 90*time.Second {
		t.Errorf("a server with another clock: %v", got)
	}
}
