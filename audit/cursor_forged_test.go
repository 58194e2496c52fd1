package audit

import (
	"math"
	"testing"
	"time"
)

// The check of a cursor is no secret: one that was made with a time that PostgreSQL cannot have
// is refused like any other that no list has given.
func TestCursorOfAnImpossibleTime(t *testing.T) {
	for _, at := range []time.Time{time.UnixMicro(math.MinInt64), time.UnixMicro(math.MaxInt64), time.UnixMicro(-1 << 60), time.Date(10000, 1, 2, 0, 0, 0, 0, time.UTC)} {
		f := Filter{}
		f.Cursor = f.cursor(position{At: at})
		if p, err := f.position(); err == nil {
			t.Errorf("%v is taken: %+v", at, p)
		}
	}
	f := Filter{}
	f.Cursor = f.cursor(f.start())
	if p, err := f.position(); err != nil || p != f.start() {
		t.Errorf("the start: %+v, %v", p, err)
	}
}
