package webhook

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// blockingReceiver answers no request before release is closed. It counts how many
// it has at once.
type blockingReceiver struct {
	url     string
	arrived chan struct{}
	release chan struct{}

	mu        sync.Mutex
	now, most int
}

func newBlockingReceiver(t *testing.T) *blockingReceiver {
	r := &blockingReceiver{arrived: make(chan struct{}, 10_000), release: make(chan struct{})}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

// ServeHTTP blocks until release is closed or the sender gives up.
func (r *blockingReceiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	_, _ = io.Copy(io.Discard, q.Body)
	r.count(1)
	defer r.count(-1)
	r.arrived <- struct{}{}
	select {
	case <-r.release:
	case <-q.Context().Done():
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *blockingReceiver) count(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now += n
	r.most = max(r.most, r.now)
}

func (r *blockingReceiver) mostAtOnce() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

func receive(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute): // longer than any test needs, to fail with a message
		t.Fatal(what)
	}
}

// claimsByTenant counts claims by tenant.
func claimsByTenant(claims []claim) map[uuid.UUID]int {
	n := map[uuid.UUID]int{}
	for _, c := range claims {
		n[c.tenantID]++
	}
	return n
}

// crowd makes a tenant with 20 webhooks, each with a delivery due.
func (w *world) crowd(slug, url string) uuid.UUID {
	id := w.tenant(slug)
	for range maxWebhooks {
		w.hook(&id, url)
	}
	w.happens(id, 1)
	return id
}

// A tenant whose 20 receivers block has its share of the slots, and another
// tenant's event is delivered meanwhile.
func TestBlockedReceiversOfOneTenantDelayNoOther(t *testing.T) {
	w, blocked, k := newWorld(t), newBlockingReceiver(t), newSink(t)
	w.crowd("crowd", blocked.url)
	acme := w.tenant("acme")
	w.hook(&acme, k.url)
	s := w.sender()
	share := newLanes(s.cfg.Parallel)[0].share
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	for range share {
		receive(t, "the crowd does not get its share", blocked.arrived)
	}
	w.happens(acme, 1)
	s.Changed(acme)
	receive(t, "the other tenant's event is not delivered", k.asked)
	close(blocked.release)
	for range maxWebhooks - share {
		receive(t, "the rest of the crowd is not delivered", blocked.arrived)
	}
	stop()
	running.Wait()
	if most := blocked.mostAtOnce(); most > share {
		t.Errorf("%d requests at once for one tenant, whose share is %d", most, share)
	}
}

// Tenants take turns: one with many webhooks that are due for longer gets no slot
// more than one with a single webhook, as long as there is not a slot for each.
func TestTenantsTakeTurns(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	crowd := w.crowd("crowd", k.url)
	s := w.sender()
	if _, err := s.turn(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	var late []uuid.UUID
	for n := range 3 {
		id := w.tenant(fmt.Sprint("late", n))
		w.hook(&id, k.url)
		w.happens(id, 1)
		late = append(late, id)
	}
	if _, err := s.turn(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	l := newLane(false, 4, 1)
	claims, err := s.claim(t.Context(), l)
	w.must(err)
	got := claimsByTenant(claims)
	for _, id := range append(late, crowd) {
		if got[id] != 1 {
			t.Errorf("%d claims of tenant %s, not 1: %v", got[id], id, got)
		}
	}
	for _, c := range claims {
		l.take(c.tenantID)
	}
	if claims, err = s.claim(t.Context(), l); err != nil || len(claims) != 0 {
		t.Errorf("%d claims without a free slot, %v", len(claims), err)
	}
}

// Requests in progress count towards a tenant's share.
func TestShareCountsRequestsInProgress(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	crowd := w.crowd("crowd", k.url)
	s := w.sender()
	if _, err := s.turn(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	l := newLane(false, 12, 3) // a share of 4
	for range 3 {
		l.take(crowd)
	}
	for _, want := range []int{1, 0} {
		claims, err := s.claim(t.Context(), l)
		w.must(err)
		if len(claims) != want {
			t.Fatalf("%d claims, not %d", len(claims), want)
		}
		for _, c := range claims {
			l.take(c.tenantID)
		}
	}
	if wait := s.timeToNextDue(t.Context(), []*lane{l}); wait != s.cfg.Look {
		t.Errorf("the loop polls in %v for webhooks that may not be claimed", wait)
	}
	l.release(crowd)
	if claims, err := s.claim(t.Context(), l); err != nil || len(claims) != 1 {
		t.Errorf("%d claims for the slot that got free, %v", len(claims), err)
	}
}

// An attempt that takes long puts its webhook into the slow lane, and the fast lane
// leaves it alone.
func TestSlowReceiversHaveALaneOfTheirOwn(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	slow, fast := w.tenant("slow"), w.tenant("fast")
	h := w.hook(&slow, k.url)
	w.hook(&fast, k.url)
	w.happens(slow, 1)
	s := w.sender()
	s.cfg.SlowAfter = time.Nanosecond // any answer takes longer
	w.once(s)
	if ids := s.slow.ids(time.Now()); len(ids) != 1 || ids[0] != h.ID {
		t.Fatalf("slow are %v, not %s", ids, h.ID)
	}
	w.happens(slow, 1)
	w.happens(fast, 1)
	if _, err := s.turn(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	lanes := newLanes(16)
	for i, want := range []uuid.UUID{fast, slow} {
		claims, err := s.claim(t.Context(), lanes[i])
		w.must(err)
		if got := claimsByTenant(claims); len(claims) != 1 || got[want] != 1 {
			t.Errorf("lane %d claims %v, not one of %s", i, got, want)
		}
	}
	if ids := s.slow.ids(time.Now().Add(2 * slowMemory)); len(ids) != 0 {
		t.Errorf("slow for ever: %v", ids)
	}
}

// A claim ends when its time is over, however many deliveries are due, and the
// webhook goes to the end of the queue.
func TestClaimEndsWhenItsTimeIsOver(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	busy, other := w.tenant("busy"), w.tenant("other")
	w.hook(&busy, k.url)
	w.hook(&other, k.url)
	w.happens(busy, 3)
	s := w.sender()
	s.cfg.ClaimTime = time.Nanosecond // over after the first answer
	if _, err := s.turn(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Second)
	w.happens(other, 1)
	if _, err := s.turn(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Second)
	var order []uuid.UUID
	for range 4 {
		claims, err := s.claim(t.Context(), newLane(false, 1, 1))
		w.must(err)
		if len(claims) != 1 {
			t.Fatalf("%d claims, not 1", len(claims))
		}
		order = append(order, claims[0].tenantID)
		s.deliver(t.Context(), claims[0])
		if told := k.take(); len(told) != 1 {
			t.Fatalf("%d deliveries in one claim", len(told))
		}
		w.pass(time.Second)
	}
	if want := []uuid.UUID{busy, other, busy, busy}; fmt.Sprint(order) != fmt.Sprint(want) {
		t.Errorf("served %v, not %v", order, want)
	}
}

func TestLanes(t *testing.T) {
	type size struct{ slots, share int }
	for slots, want := range map[int][]size{1: {{1, 1}}, 3: {{3, 1}}, 4: {{3, 1}, {1, 1}}, 16: {{12, 4}, {4, 2}}} {
		lanes := newLanes(slots)
		if len(lanes) != len(want) {
			t.Fatalf("%d lanes of %d slots", len(lanes), slots)
		}
		for i, l := range lanes {
			if got := (size{l.slots, l.share}); got != want[i] || l.slow != (i == 1) {
				t.Errorf("lane %d of %d slots: %+v, not %+v", i, slots, got, want[i])
			}
		}
	}
}
