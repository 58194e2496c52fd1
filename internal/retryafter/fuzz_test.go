package retryafter

import (
	"net/http"
	"testing"
	"time"
)

// Whatever a server sends, the wait is between none and Max.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"120", "-1", "1e9", "99999999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "0x10", " 5 ", ""} {
		f.Add(seed, "")
		f.Add(seed, "Sun, 06 Nov 1994 08:49:37 GMT")
		f.Add("Fri, 31 Dec 1999 23:59:59 GMT", seed)
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		header := http.Header{"Retry-After": {value}, "Date": {date}}
		for _, now := range []time.Time{{}, time.Unix(1<<40, 0), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} {
			if wait := Parse(header, now); wait < 0 || wait > Max {
				t.Errorf("%q, %q: %v", value, date, wait)
			}
		}
	})
}
