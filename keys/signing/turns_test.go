package signing

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

var es256 = work{alg: "ES256"}

// busyTurns returns turns whose only slot is taken, and a signature's known duration.
func busyTurns(t *testing.T, cost time.Duration) (*turns, turn) {
	t.Helper()
	all := newTurns()
	all.slots, all.costs[es256] = 1, cost
	held, err := all.take(t.Context(), uuid.New(), es256, false)
	if err != nil {
		t.Fatal(err)
	}
	return all, held
}

// queue makes a tenant wait n times, and sends its name to granted for each turn.
func (t *turns) queue(ctx context.Context, tenantID uuid.UUID, n int, granted chan<- uuid.UUID, done *sync.WaitGroup) {
	for range n {
		before := t.queued()
		done.Go(func() {
			if _, err := t.take(ctx, tenantID, es256, true); err != nil {
				return
			}
			granted <- tenantID
			t.mu.Lock()
			defer t.mu.Unlock()
			t.pass() // without giveBack: no duration is learned
		})
		for t.queued() == before {
			time.Sleep(time.Microsecond)
		}
	}
}

func (t *turns) queued() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lanes {
		n += len(l.queue)
	}
	return n
}

// A tenant that floods waits for itself: another one's first signatures are not behind
// the flood, and later ones alternate with it.
func TestFloodWaitsForItself(t *testing.T) {
	all, held := busyTurns(t, time.Millisecond)
	flood, quiet := uuid.New(), uuid.New()
	granted := make(chan uuid.UUID, 1000)
	var done sync.WaitGroup
	all.queue(t.Context(), flood, 200, granted, &done)
	all.queue(t.Context(), quiet, 20, granted, &done)
	all.giveBack(held)
	done.Wait()
	close(granted)
	first := 0
	for i := 0; len(granted) > 0; i++ {
		if <-granted == quiet && i < 42 {
			first++
		}
	}
	if first != 20 {
		t.Errorf("%d of the quiet tenant's 20 turns were among the first 42", first)
	}
	if all.used != 0 || len(all.lanes) != 0 || len(all.order) != 0 || all.waiting != 0 {
		t.Errorf("after all turns: %d used, %d lanes, %d in order, %v waiting", all.used, len(all.lanes), len(all.order), all.waiting)
	}
}

// What would wait too long is refused at once, of the tenant that has so much waiting.
func TestOverloadIsRefused(t *testing.T) {
	all, held := busyTurns(t, 10*time.Millisecond)
	flood, quiet := uuid.New(), uuid.New()
	granted := make(chan uuid.UUID, 1000)
	var done sync.WaitGroup
	all.queue(t.Context(), flood, 24, granted, &done)
	if err := all.check(flood); err != nil {
		t.Errorf("with 240 ms waiting: %v", err)
	}
	all.queue(t.Context(), flood, 2, granted, &done)
	var overload *OverloadError
	if err := all.check(flood); !errors.As(err, &overload) || overload.RetryAfter <= 0 {
		t.Errorf("with 260 ms waiting: %v", err)
	}
	if _, err := all.take(t.Context(), flood, es256, false); !errors.As(err, &overload) {
		t.Errorf("with 260 ms waiting: %v", err)
	}
	if err := all.check(quiet); err != nil {
		t.Errorf("a tenant of which nothing waits: %v", err)
	}
	if all.refused.Load() != 2 {
		t.Errorf("%d refusals are counted", all.refused.Load())
	}
	all.giveBack(held)
	done.Wait()
	if err := all.check(flood); err != nil {
		t.Errorf("after all turns: %v", err)
	}
}

// Where others use the processors, what is expected is too short: who has waited too
// long shows it.
func TestAWaitThatIsTooLongRefusesTheNext(t *testing.T) {
	all, held := busyTurns(t, time.Microsecond)
	tenantID := uuid.New()
	granted := make(chan uuid.UUID, 1)
	var done sync.WaitGroup
	all.queue(t.Context(), tenantID, 1, granted, &done)
	if err := all.check(tenantID); err != nil {
		t.Errorf("with one waiting: %v", err)
	}
	all.lanes[tenantID].queue[0].since = time.Now().Add(-time.Second)
	if err := all.check(tenantID); err == nil {
		t.Error("one waits for a second, and another may wait behind it")
	}
	all.giveBack(held)
	done.Wait()
}

// A caller that leaves while it waits, or as its turn comes, takes no turn with it.
func TestAbandonedTurnsPassOn(t *testing.T) {
	all := newTurns()
	all.slots, all.costs[es256] = 2, time.Microsecond
	var done sync.WaitGroup
	var at, most atomic.Int64
	for i := range 1000 {
		done.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%7)*100*time.Microsecond)
			defer cancel()
			mine, err := all.take(ctx, uuid.UUID{byte(i % 5)}, es256, i%2 == 0)
			if err != nil {
				return
			}
			n := at.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			at.Add(-1)
			all.giveBack(mine)
		})
	}
	done.Wait()
	if most.Load() > 2 {
		t.Errorf("%d turns at once, of 2", most.Load())
	}
	if all.used != 0 || len(all.lanes) != 0 || len(all.order) != 0 || all.waiting != 0 {
		t.Errorf("after all turns: %d used, %d lanes, %d in order, %v waiting", all.used, len(all.lanes), len(all.order), all.waiting)
	}
}

// A process that was stopped in the middle of a signature does not refuse the next
// ones, and what takes longer than before is learned.
func TestOneLongTurnCountsLittle(t *testing.T) {
	all := newTurns()
	all.learn(es256, time.Hour)
	if got := all.costs[es256]; got > maxTurnWait/10 {
		t.Errorf("the first turn of an hour: %v are expected", got)
	}
	all.costs[es256] = 100 * time.Microsecond
	all.learn(es256, time.Hour)
	if got := all.costs[es256]; got > time.Millisecond {
		t.Errorf("after one turn of an hour: %v are expected", got)
	}
	for range 200 {
		all.learn(es256, 10*time.Millisecond)
	}
	if got := all.costs[es256]; got < 9*time.Millisecond {
		t.Errorf("after 200 turns of 10 ms: %v are expected", got)
	}
}
