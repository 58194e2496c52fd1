// Package durations writes durations for people. It is internal to Keyward: no
// compatibility promise.
package durations

import (
	"strings"
	"time"

	"github.com/keyward/keyward/internal/plural"
)

// Units are the units of a text, the largest first. No text has months: they differ in
// length.
var Units = []struct {
	Name string
	Size time.Duration
}{
	{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second},
}

// Words writes a duration exactly to the second, as in "1 day 12 hours". Fractions of a
// second are dropped; a negative duration is "0 seconds".
func Words(d time.Duration) string {
	var words []string
	for _, u := range Units {
		if n := d / u.Size; n > 0 {
			words = append(words, plural.Count(int64(n), u.Name))
			d -= n * u.Size
		}
	}
	if len(words) == 0 {
		return "0 seconds"
	}
	return strings.Join(words, " ")
}
