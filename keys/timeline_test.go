package keys

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSevenAndTwentyEightDays is the timeline of nestjs-jwks: a new key each
// 7 days, gone 28 days after it began to sign, so a grace period of 21. Four
// keys that sign or signed are visible at most. Unlike there, the next key is
// published beside them and no day is without an active one.
func TestSevenAndTwentyEightDays(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(1, 1)))
	w.keys, w.born = nil, 0
	w.prop = 6 * time.Minute
	w.s = with(func(s *Schedule) { s.RotationInterval = 7 * day; s.GracePeriod = 21 * day })
	w.firstKeys()

	var got []string
	for d := 0; d <= 60; d++ {
		w.now = t0.Add(time.Duration(d) * day)
		w.tick(d > 0 && d%7 == 0)
		got = append(got, w.row(d))
	}
	want := strings.Fields(`
		0:a1,s2
		7:a2,s3,d1
		14:a3,s4,d1,d2
		21:a4,s5,d1,d2,d3
		28:a5,s6,d2,d3,d4
		35:a6,s7,d3,d4,d5
		42:a7,s8,d4,d5,d6
		49:a8,s9,d5,d6,d7
		56:a9,s10,d6,d7,d8`)
	for d, row := range got {
		week := want[d/7]
		expect := fmt.Sprint(d, week[strings.IndexByte(week, ':'):])
		if row != expect {
			t.Errorf("day %d: %s, want %s", d, row, expect)
		}
	}
}

// row shows what is published: a active, s standby, d deprecated.
func (w *world) row(day int) string {
	var row []string
	for _, s := range []State{Active, Standby, Deprecated} {
		var kids []string
		for _, k := range w.keys {
			if k.State == s {
				kids = append(kids, string(s[0])+strings.TrimPrefix(k.KID, "k"))
			}
		}
		slices.Sort(kids)
		row = append(row, kids...)
	}
	return fmt.Sprintf("%d:%s", day, strings.Join(row, ","))
}
