package admission

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Look-ups that find nothing are bounded, whoever asks; those that find something are
// not counted.
func TestGateBoundsFruitlessLookUps(t *testing.T) {
	now := time.Unix(1000, 0)
	g := New(Config{Now: func() time.Time { return now }, Rate: 10, Burst: 20, Concurrent: 2})
	try := func(n int, found bool) (admitted int) {
		for range n {
			leave, err := g.Enter(t.Context())
			if busy := (*BusyError)(nil); errors.As(err, &busy) {
				if busy.RetryAfter <= 0 || busy.RetryAfter > time.Second {
					t.Errorf("retry after %v", busy.RetryAfter)
				}
				continue
			}
			admitted++
			leave(found)
		}
		return admitted
	}
	if n := try(1000, true); n != 1000 {
		t.Errorf("%d look-ups that find something were admitted, want all", n)
	}
	if n := try(1000, false); n != 20 {
		t.Errorf("%d fruitless look-ups were admitted, want 20", n)
	}
	now = now.Add(time.Second)
	if n := try(1000, false); n != 10 {
		t.Errorf("%d fruitless look-ups were admitted in a second, want 10", n)
	}
	now = now.Add(-time.Hour) // a clock that was set back gives nothing
	if n := try(10, false); n != 0 {
		t.Errorf("%d look-ups were admitted after the clock was set back", n)
	}
}

// More look-ups at once wait, until their caller gives up, which costs no token.
func TestGateBoundsConcurrency(t *testing.T) {
	g := New(Config{Now: time.Now, Rate: 1, Burst: 3, Concurrent: 2})
	var leave []func(bool)
	for range 2 {
		l, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, err := g.Enter(gone); !errors.Is(err, context.Canceled) {
			t.Fatalf("a third look-up: %v", err)
		}
	}
	leave[0](true)
	if l, err := g.Enter(t.Context()); err != nil {
		t.Errorf("after one has left: %v", err)
	} else {
		l(true)
	}
}

func TestRecentIsBounded(t *testing.T) {
	r := NewRecent[int, string](10)
	for i := range 1000 {
		r.Note(i, "x")
	}
	if n := r.Len(); n > 20 {
		t.Errorf("%d keys, want at most 20", n)
	}
	for i := 990; i < 1000; i++ {
		if _, ok := r.Get(i); !ok {
			t.Errorf("%d of the last ten is forgotten", i)
		}
	}
	if _, ok := r.Get(0); ok {
		t.Error("the first is remembered")
	}
}
