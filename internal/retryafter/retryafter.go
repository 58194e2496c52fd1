// Package retryafter reads the HTTP field Retry-After (RFC 9110 section 10.2.3).
// It is internal to Keyward: no compatibility promise.
package retryafter

import (
	"net/http"
	"strings"
	"time"
)

// Max is the longest wait that [Parse] returns. Larger values are cut to it, so
// that no caller overflows a duration or a header of its own.
const Max = 24 * time.Hour

// Parse returns how long to wait according to header: delta-seconds or a date,
// which is compared with the answer's own Date if it has one, so that the clocks
// of the two sides need not agree, and otherwise with now. It returns 0 for a
// value that is missing, negative, in the past or of neither form.
func Parse(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, isNumber := parseSeconds(value); isNumber {
		return min(seconds, Max)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if sent, err := http.ParseTime(header.Get("Date")); err == nil {
		now = sent
	}
	return min(max(at.Sub(now), 0), Max)
}

// parseSeconds reads digits alone. A number of any length is one: it is cut off
// at Max while it is read.
func parseSeconds(value string) (time.Duration, bool) {
	total := time.Duration(0)
	for _, c := range []byte(value) {
		if c < '0' || c > '9' {
			return 0, false
		}
		total = min(total*10+time.Duration(c-'0')*time.Second, Max)
	}
	return total, true
}
