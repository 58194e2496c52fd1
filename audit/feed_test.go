package audit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// write appends an event in a transaction that may have begun long ago.
func (w world) write(ctx context.Context, tx *db.Tx, id uuid.UUID) error {
	row, err := tx.LockTenant(ctx, id)
	if err != nil {
		return err
	}
	head, chained := audit.Chain(audit.Head{TenantID: id, Seq: row.AuditSeq, Hash: row.AuditHash}, []audit.Event{denied("k", 1)})
	if _, err := tx.MoveAuditHeads(ctx, db.MoveAuditHeadsParams{
		TenantIds: []uuid.UUID{id}, OldSeqs: []int64{row.AuditSeq}, Seqs: []int64{head.Seq}, Hashes: [][]byte{head.Hash},
	}); err != nil {
		return err
	}
	return tx.InsertAuditEvents(ctx, db.InsertAuditEventsParams(audit.ToColumns(chained)))
}

func (w world) feed(t *testing.T, scope uuid.UUID, after string) *audit.Feed {
	t.Helper()
	f, err := w.Feed(t.Context(), scope, after)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func next(t *testing.T, f *audit.Feed) audit.Batch {
	t.Helper()
	b, err := f.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drain reads all that is there, if need be after others on this server are
// done. How the tenants began is not told: it may come with "now", or before.
func drain(t *testing.T, f *audit.Feed) (order []string) {
	t.Helper()
	for b := (audit.Batch{More: true}); b.More || b.Held; {
		b = next(t, f)
		for _, e := range b.Events {
			if e.Seq > 1 {
				order = append(order, fmt.Sprint(e.Tenant, e.Seq))
			}
		}
	}
	return order
}

// reader reads a feed and checks that each tenant's events come once and in
// their order. It breaks off in the middle of every other batch.
type reader struct {
	*audit.Feed
	seen map[uuid.UUID]int64
}

func (r *reader) read(t *testing.T, w world, scope uuid.UUID) (read int, held bool) {
	t.Helper()
	b := next(t, r.Feed)
	n := len(b.Events)
	if n > 0 && rand.IntN(2) == 0 {
		n = 1 + rand.IntN(n)
		r.Feed = w.feed(t, scope, b.Events[n-1].Position)
	}
	for _, e := range b.Events[:n] {
		if last := r.seen[e.TenantID]; e.Seq > 1 && e.Seq != last+1 {
			t.Errorf("event %d of %s after %d", e.Seq, e.Tenant, last)
		}
		r.seen[e.TenantID] = max(e.Seq, r.seen[e.TenantID])
		if scope != uuid.Nil && e.TenantID != scope {
			t.Errorf("an event of %s", e.Tenant)
		}
	}
	return n, b.Held
}

const writers, rounds = 20, 15

// hammer writes from many sides at once. Some transactions began long before
// they come to a tenant, and some reach several.
func (w world) hammer(t *testing.T, tenants []uuid.UUID) (written func() bool) {
	var all sync.WaitGroup
	for n := range writers {
		all.Go(func() {
			for range rounds {
				a, b := rand.IntN(len(tenants)), rand.IntN(len(tenants))
				err := w.db.AsPlatform(t.Context(), func(tx *db.Tx) error {
					if n%2 == 0 { // takes an xid, and changes nothing
						_, err := tx.AcquireLease(t.Context(), fmt.Sprint("lease ", n), "nobody", 0)
						if err != nil && !errors.Is(err, db.ErrNoRows) {
							return err
						}
					}
					return errors.Join(w.write(t.Context(), tx, tenants[min(a, b)]), w.write(t.Context(), tx, tenants[max(a, b)]))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	return func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

func TestFeedsTellEveryEventOnceAndInOrder(t *testing.T) {
	w := newWorld(t)
	var tenants []uuid.UUID
	for n := range 5 {
		tenants = append(tenants, w.tenant(t, fmt.Sprintf("tenant-%d", n)))
	}
	readers := map[uuid.UUID]*reader{}
	for _, scope := range append(tenants, uuid.Nil) {
		readers[scope] = &reader{w.feed(t, scope, ""), map[uuid.UUID]int64{}}
		for _, id := range tenants {
			readers[scope].seen[id] = 1
		}
	}
	written := w.hammer(t, tenants)
	for last, idle := false, 0; idle == 0; {
		read, held := 0, false
		for scope, r := range readers {
			n, waits := r.read(t, w, scope)
			read, held = read+n, held || waits
		}
		if last && read == 0 && !held {
			idle++
		}
		last = written()
	}
	total := map[uuid.UUID]int64{}
	for scope, r := range readers {
		for id, seq := range r.seen {
			total[scope] += seq - 1
			if scope == uuid.Nil && seq != readers[id].seen[id] {
				t.Errorf("the feed of all told %d events of %s, its own %d", seq, id, readers[id].seen[id])
			}
		}
	}
	if total[uuid.Nil] != 2*writers*rounds {
		t.Errorf("%d events, %d were written", total[uuid.Nil], 2*writers*rounds)
	}
}

// A transaction that began first, and ends last.
func TestWhatCommitsLateIsToldLate(t *testing.T) {
	w := newWorld(t)
	a, b := w.tenant(t, "a"), w.tenant(t, "b")
	all, own := w.feed(t, uuid.Nil, ""), w.feed(t, a, "")
	resumed := w.feed(t, uuid.Nil, all.Position())
	err := w.db.AsPlatform(t.Context(), func(tx *db.Tx) error {
		if err := w.write(t.Context(), tx, b); err != nil {
			return err
		}
		w.append(t, a, denied("first", 1))
		for range 3 {
			if got := next(t, all); !got.Held || len(got.Events) > 0 && got.Events[len(got.Events)-1].Seq > 1 {
				t.Errorf("told before its time: %+v", got)
			}
		}
		if got := next(t, own); len(got.Events) != 1 || got.Held || got.Events[0].KID != "first" {
			t.Errorf("a tenant waits for another: %+v", got)
		}
		return w.write(t.Context(), tx, a) // continues what a later transaction wrote
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*audit.Feed{all, resumed} {
		if got := fmt.Sprint(drain(t, f)); got != "[b2 a2 a3]" {
			t.Errorf("told %s", got)
		}
		if again := drain(t, f); len(again) != 0 {
			t.Errorf("told again: %s", again)
		}
	}
}

func TestFeedInPages(t *testing.T) {
	w := newWorld(t)
	a := w.tenant(t, "a")
	all, own := w.feed(t, uuid.Nil, ""), w.feed(t, a, "")
	drain(t, all)
	events := make([]audit.Event, 250)
	for n := range events {
		events[n] = denied("k", n)
	}
	w.append(t, a, events...)
	for _, f := range []*audit.Feed{all, own} {
		var sizes []int
		for more := true; more; {
			b := next(t, f)
			more = b.More || b.Held
			if len(b.Events) > 0 {
				sizes = append(sizes, len(b.Events))
			}
		}
		if fmt.Sprint(sizes) != "[100 100 50]" {
			t.Errorf("pages of %v", sizes)
		}
	}
}

func TestPositionsOfNoFeed(t *testing.T) {
	w := newWorld(t)
	a, b := w.tenant(t, "a"), w.tenant(t, "b")
	all, ofA := w.feed(t, uuid.Nil, "").Position(), w.feed(t, a, "").Position()
	w.append(t, a, denied("k", 1))
	f := w.feed(t, a, "")
	w.tamper(t, "DELETE FROM audit_events WHERE seq > 1; UPDATE tenants SET audit_seq = 1")
	for name, c := range map[string]struct {
		scope    uuid.UUID
		position string
	}{
		"no position": {a, "x"}, "cut short": {a, ofA[:len(ofA)-1]}, "made up": {a, "A" + ofA[1:len(ofA)-2] + "AA"},
		"of all": {a, all}, "of another": {b, ofA}, "of one": {uuid.Nil, ofA}, "with a tail": {a, ofA + "="},
		"of a time before the restore": {a, f.Position()},
	} {
		if _, err := w.Feed(t.Context(), c.scope, c.position); !errors.Is(err, audit.ErrBadPosition) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Feed(t.Context(), uuid.Max, ""); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("a feed of nobody: %v", err)
	}
}

func TestWatch(t *testing.T) {
	w := newWorld(t)
	a, b := w.tenant(t, "a"), w.tenant(t, "b")
	ofA, stopA := w.Watch(a, a)
	ofBoth, stopBoth := w.Watch(a, b)
	ofAll, stopAll := w.Watch()
	woken := func() string {
		var who []string
		for name, c := range map[string]<-chan struct{}{"a": ofA, "both": ofBoth, "all": ofAll} {
			select {
			case <-c:
				who = append(who, name)
			default:
			}
		}
		slices.Sort(who)
		return fmt.Sprint(who)
	}
	if got := woken(); got != "[]" {
		t.Errorf("woken by nothing: %s", got)
	}
	for range 3 {
		w.append(t, a, denied("k", 1))
	}
	if got := woken(); got != "[a all both]" {
		t.Errorf("woken by a: %s", got)
	}
	w.Changed(b)
	if got := woken(); got != "[all both]" {
		t.Errorf("woken by b: %s", got)
	}
	w.Missed()
	if got := woken(); got != "[a all both]" {
		t.Errorf("woken by anything: %s", got)
	}
	stopA()
	stopBoth()
	stopAll()
	w.Missed()
	w.Changed(a)
	if got := woken(); got != "[]" {
		t.Errorf("woken though gone: %s", got)
	}
}
