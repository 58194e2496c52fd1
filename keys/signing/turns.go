package signing

import (
	"container/heap"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// maxTurnWait is how long a signature or verification may have to wait for a processor;
// one that would wait longer is refused at once. With the request's other work an
// answer then takes less than half a second, and more load makes more refusals instead
// of slower answers.
const maxTurnWait = 250 * time.Millisecond

// OverloadError refuses a signature or verification because the processors have as
// much to do as they can within the time that a caller waits. Nothing was done.
type OverloadError struct{ RetryAfter time.Duration }

// RetryIn returns RetryAfter.
func (e *OverloadError) RetryIn() time.Duration { return e.RetryAfter }

func (e *OverloadError) Error() string {
	return "keys: more is to be signed and verified than the processors can do"
}

// work names a kind of cryptography, whose duration is measured.
type work struct {
	alg      string
	verifies bool
}

// turns bounds how many goroutines sign or verify at a time, so that those that serve
// JWK Sets, which take little, never queue behind more than a few signatures. Those
// that wait are served in the order in which their tenants had the least of the
// processors (start-time fair queueing): a tenant that floods waits for itself.
type turns struct {
	slots   int
	refused atomic.Int64

	mu      sync.Mutex
	used    int
	lanes   map[uuid.UUID]*lane // of the tenants that wait
	order   laneHeap
	waiting time.Duration // what all that wait will take
	had     time.Duration // what the lane served last had had; a new lane begins there
	costs   map[work]time.Duration
}

// lane is what waits for one tenant.
type lane struct {
	tenant  uuid.UUID
	queue   []*waiter
	waiting time.Duration // what the queue will take
	had     time.Duration // what it was given, from where it began
	index   int           // in the heap
}

type waiter struct {
	granted chan struct{}
	cost    time.Duration
	since   time.Time
}

// turn is the right to use a processor; the zero value is none.
type turn struct {
	work  work
	since time.Time
}

func newTurns() *turns {
	// Two for each processor, so that none idles while a turn passes on.
	return &turns{slots: 2 * runtime.GOMAXPROCS(0), lanes: map[uuid.UUID]*lane{}, costs: map[work]time.Duration{}}
}

// take waits for a turn, which the caller must give back; who is patient, however long
// it takes. Errors: *OverloadError, and that of ctx.
func (t *turns) take(ctx context.Context, tenantID uuid.UUID, w work, patient bool) (turn, error) {
	t.mu.Lock()
	if t.used < t.slots {
		t.used++
		t.mu.Unlock()
		return turn{w, time.Now()}, nil
	}
	if !patient {
		if err := t.checkWait(tenantID, t.expect(w)); err != nil {
			t.mu.Unlock()
			return turn{}, err
		}
	}
	l, me := t.enqueue(tenantID, t.expect(w))
	t.mu.Unlock()
	select {
	case <-me.granted:
		return turn{w, time.Now()}, nil
	case <-ctx.Done():
		t.abandon(l, me)
		return turn{}, ctx.Err()
	}
}

// check reports whether a tenant's next turn would be refused, before any work is done
// for it. The error is *OverloadError.
func (t *turns) check(tenantID uuid.UUID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used < t.slots {
		return nil
	}
	return t.checkWait(tenantID, 0)
}

// checkWait estimates how long a tenant's next turn has to wait: for all that wait, or
// for the tenant's own with as much of each other tenant, whichever is less. It is at
// least as long as the tenant's first one waits already, which also tells when others
// use the processors.
func (t *turns) checkWait(tenantID uuid.UUID, cost time.Duration) error {
	own, waits := cost, time.Duration(0)
	if l := t.lanes[tenantID]; l != nil {
		own += l.waiting
		waits = time.Since(l.queue[0].since)
	}
	expected := min(t.waiting+cost, own*time.Duration(len(t.lanes)+1)) / time.Duration(t.slots)
	if max(expected, waits) <= maxTurnWait {
		return nil
	}
	t.refused.Add(1)
	return &OverloadError{RetryAfter: time.Second}
}

func (t *turns) enqueue(tenantID uuid.UUID, cost time.Duration) (*lane, *waiter) {
	l := t.lanes[tenantID]
	if l == nil {
		l = &lane{tenant: tenantID, had: t.had}
		t.lanes[tenantID] = l
		heap.Push(&t.order, l)
	}
	me := &waiter{make(chan struct{}), cost, time.Now()}
	l.queue = append(l.queue, me)
	l.waiting += cost
	t.waiting += cost
	return l, me
}

// abandon takes a waiter out whose caller has left, or passes its turn on if it has
// just been granted.
func (t *turns) abandon(l *lane, me *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, w := range l.queue {
		if w == me {
			t.remove(l, i)
			return
		}
	}
	t.pass()
}

// remove takes a waiter out of its lane, and a lane that is empty out of the order.
func (t *turns) remove(l *lane, i int) *waiter {
	w := l.queue[i]
	if i == 0 { // nearly always; nothing is moved
		l.queue[0], l.queue = nil, l.queue[1:]
	} else {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	l.waiting -= w.cost
	t.waiting -= w.cost
	if len(l.queue) == 0 {
		heap.Remove(&t.order, l.index)
		delete(t.lanes, l.tenant)
	}
	return w
}

// giveBack ends a turn, and learns what such work takes.
func (t *turns) giveBack(done turn) {
	if done.since.IsZero() {
		return
	}
	took := time.Since(done.since)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.learn(done.work, took)
	t.pass()
}

// expect returns what a turn will take, as far as is known.
func (t *turns) expect(w work) time.Duration {
	if known, isKnown := t.costs[w]; isKnown {
		return known
	}
	return time.Millisecond
}

// learn averages over the last turns. A process that was stopped in the middle of one
// must not expect as much of the next, so that a single turn counts for little.
func (t *turns) learn(w work, took time.Duration) {
	known, isKnown := t.costs[w]
	if !isKnown {
		t.costs[w] = min(took, maxTurnWait/10)
		return
	}
	took = min(took, 4*known+time.Millisecond)
	t.costs[w] = known + (took-known)/16
}

// pass gives a turn to the tenant that had least.
func (t *turns) pass() {
	if len(t.order) == 0 {
		t.used--
		return
	}
	l := t.order[0]
	t.had = l.had
	l.had += max(l.queue[0].cost, time.Microsecond)
	heap.Fix(&t.order, 0)
	close(t.remove(l, 0).granted)
}

// laneHeap orders lanes by what they had.
type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].had < h[j].had }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *laneHeap) Push(x any) {
	l := x.(*lane)
	l.index = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *laneHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}
