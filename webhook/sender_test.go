package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// exactlyOnce demands every event of the tenants from a seq on, each tenant's
// in their order.
func exactlyOnce(t *testing.T, told []sunk, first, last int64, slugs ...string) {
	t.Helper()
	next := map[string]int64{}
	for _, b := range told {
		if want := max(next[b.Event.Tenant], first); b.Event.Seq != want {
			t.Errorf("%s: event %d where %d was to come", b.Event.Tenant, b.Event.Seq, want)
		}
		next[b.Event.Tenant] = b.Event.Seq + 1
	}
	for _, slug := range slugs {
		if next[slug] != last+1 {
			t.Errorf("%s: told until %d, not %d", slug, next[slug]-1, last)
		}
	}
}

// Many processes work on the same webhooks while events are committed: each is
// told of once, in order.
func TestManySendersTellOfEachEventOnce(t *testing.T) {
	w, own := newWorld(t), map[string]*sink{}
	all := newSink(t)
	w.hook(nil, all.url)
	var ids []uuid.UUID
	for n := range 4 {
		slug := fmt.Sprint("t", n)
		id := w.tenant(slug)
		ids, own[slug] = append(ids, id), newSink(t)
		w.hook(&id, own[slug].url)
	}
	const events = 30
	var writing, sending sync.WaitGroup
	for _, id := range ids {
		writing.Go(func() { w.happens(id, events) })
	}
	ctx, stop := context.WithCancel(t.Context())
	for range 3 {
		sending.Go(func() {
			for s := w.sender(); ctx.Err() == nil; {
				if err := s.Once(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	stop()
	sending.Wait()
	w.once(w.sender())
	for slug, k := range own {
		exactlyOnce(t, k.take(), 3, 2+events, slug) // 1 is tenant.created, 2 webhook.created
	}
	exactlyOnce(t, all.take(), 3, 2+events, "t0", "t1", "t2", "t3")
}

// A transaction that began early and commits late is told of late, not skipped.
func TestPlatformWebhookSkipsNothing(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	early, late := w.tenant("early"), w.tenant("late")
	w.hook(nil, k.url)
	w.once(w.sender())
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- w.db.AsPlatform(t.Context(), func(tx *db.Tx) error {
			if _, err := tx.AcquireLease(t.Context(), "an xid", "nobody", 0); err != nil && !errors.Is(err, db.ErrNoRows) {
				return err
			}
			close(began)
			<-goOn
			row, err := tx.LockTenant(t.Context(), early)
			if err != nil {
				return err
			}
			head, events := audit.Chain(audit.Head{TenantID: early, Seq: row.AuditSeq, Hash: row.AuditHash},
				[]audit.Event{somebody.Event(noon, audit.AuthorizationDenied)})
			if _, err := tx.MoveAuditHeads(t.Context(), db.MoveAuditHeadsParams{
				TenantIds: []uuid.UUID{early}, OldSeqs: []int64{row.AuditSeq}, Seqs: []int64{head.Seq}, Hashes: [][]byte{head.Hash},
			}); err != nil {
				return err
			}
			return tx.InsertAuditEvents(t.Context(), db.InsertAuditEventsParams(audit.ToColumns(events)))
		})
	}()
	<-began
	w.happens(late, 1)
	if _, held, err := w.sender().turnPlatform(t.Context()); err != nil || !held {
		t.Errorf("an event behind an open transaction is not held: %v", err)
	}
	close(goOn)
	w.must(<-done)
	w.once(w.sender())
	if told := k.take(); len(told) != 2 {
		t.Errorf("told of %+v", told)
	}
}

// A process that ends between taking a webhook and writing down what became of
// its delivery loses nothing: when its lease is over, another goes on.
func TestDeliveryOutlivesItsSender(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	acme := w.tenant("acme")
	h := w.hook(&acme, k.url)
	w.happens(acme, 1)
	dead := w.sender()
	if _, err := dead.turn(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	claims, err := dead.claim(t.Context(), newLanes(16)[0])
	if err != nil || len(claims) != 1 {
		t.Fatalf("%d claims, %v", len(claims), err)
	}
	list, err := dead.listDue(t.Context(), claims[0])
	if err != nil || len(list) != 1 {
		t.Fatalf("%d due, %v", len(list), err)
	}
	w.store.targets.post(t.Context(), h.URL, request{header: http.Header{deliveryHeader: {list[0].id.String()}}}) // and then it dies
	k.take()
	other := w.sender()
	if w.once(other); len(k.take()) != 0 {
		t.Error("somebody else's webhook was taken")
	}
	w.pass(dead.cfg.Lease)
	w.once(other)
	if told := k.take(); len(told) != 1 || told[0].ID != list[0].id {
		t.Errorf("told of %+v", told)
	}
	// The first one was not dead after all: what it says counts no more.
	v := judgeAnswer(answer{class: "timeout"}, claims[0], list[0], w.clock())
	if err := dead.record(t.Context(), &claims[0], list[0], w.clock(), v); !errors.Is(err, db.ErrGuard) {
		t.Errorf("the late word of a sender that lost its lease: %v", err)
	}
	done, _, err := w.store.Deliveries(t.Context(), &acme, h.ID, Filter{Status: Delivered})
	if err != nil || len(done) != 1 || done[0].Attempts != 1 {
		t.Errorf("%+v, %v", done, err)
	}
}

// A receiver that is away holds up nobody else, is asked ever more seldom, and
// is left alone after days; in between nothing is lost.
func TestReceiverThatIsAway(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	acme := w.tenant("acme")
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	away, here := w.hook(&acme, s.URL), w.hook(&acme, k.url)
	w.happens(acme, 25)
	sender := w.sender()
	w.once(sender)
	if told := k.take(); len(told) != 25 {
		t.Errorf("%d of 25 events reached the other webhook %s", len(told), here.ID)
	}
	if counts := sender.Stats(); counts[outcomeRetried] != 1 {
		t.Errorf("%v attempts in the first round", counts)
	}
	began := w.clock()
	for state := Active; state == Active; {
		w.pass(longestRest)
		w.happens(acme, 1)
		w.once(sender)
		h, err := w.store.Get(t.Context(), &acme, away.ID)
		w.must(err)
		if state = h.Status; state == Disabled && h.DisabledReason != Failing {
			t.Errorf("%+v", h)
		}
		w.pass(6 * time.Hour)
	}
	if lasted := w.clock().Sub(began); lasted < giveUpAfter || lasted > giveUpAfter+24*time.Hour {
		t.Errorf("disabled after %s", lasted)
	}
	failed, _, err := w.store.Deliveries(t.Context(), &acme, away.ID, Filter{Status: Pending})
	if err != nil || len(failed) != 0 {
		t.Errorf("%d are pending for a disabled webhook, %v", len(failed), err)
	}
}

// What cannot be signed or read is put off, and counts for nothing.
func TestTroubleOfOurOwnIsNotTheReceivers(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	acme := w.tenant("acme")
	h := w.hook(&acme, k.url)
	w.happens(acme, 1)
	s := w.sender()
	s.cfg.Signer = signer{err: errors.New("no key")}
	w.once(s)
	list, _, err := w.store.Deliveries(t.Context(), &acme, h.ID, Filter{})
	if err != nil || len(list) != 1 || list[0].Attempts != 0 || list[0].Status != Pending || len(k.take()) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	w.pass(pauseAfterError)
	if w.once(w.sender()); len(k.take()) != 1 {
		t.Error("it was not told later")
	}
}

// A sender at work hears of changes, and finds by itself what nobody told it.
func TestSenderIsWoken(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	acme := w.tenant("acme")
	w.hook(&acme, k.url)
	s := w.sender()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	w.happens(acme, 1)
	s.Changed(acme)
	<-k.asked
	w.happens(acme, 1)
	s.Missed()
	<-k.asked
	stop()
	running.Wait()
	exactlyOnce(t, k.take(), 3, 4, "acme")

	s = w.sender()
	s.cfg.Look = time.Millisecond
	ctx, stop = context.WithCancel(t.Context())
	running.Go(func() { s.Run(ctx) })
	w.happens(acme, 1)
	<-k.asked
	stop()
	running.Wait()
}

// A webhook that somebody is just writing to is waited for, not passed over:
// nobody would look again before the next event.
func TestBusyWebhookIsNotPassedOver(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	acme := w.tenant("acme")
	h, all := w.hook(&acme, k.url), w.hook(nil, k.url)
	s := w.sender()
	w.once(s)
	w.happens(acme, 1)
	locked, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- w.db.AsPlatform(t.Context(), func(tx *db.Tx) error {
			_, err := tx.LockWebhook(t.Context(), acme, h.ID)
			if err == nil {
				var home uuid.UUID
				if home, err = tx.LiveTenantID(t.Context(), "platform"); err == nil {
					_, err = tx.LockWebhook(t.Context(), home, all.ID)
				}
			}
			close(locked)
			<-goOn
			return err
		})
	}()
	<-locked
	turned := make(chan error)
	go func() {
		var err error
		for held := true; held && err == nil; {
			held, err = s.turn(t.Context(), []uuid.UUID{acme}, false)
		}
		turned <- err
	}()
	waitForLock(t, w, turned)
	close(goOn)
	w.must(<-done)
	w.must(<-turned)
	claims, err := s.claim(t.Context(), newLanes(16)[0])
	w.must(err)
	for _, c := range claims {
		s.deliver(t.Context(), c)
	}
	if told := k.take(); len(told) != 2 {
		t.Errorf("told of %+v", told)
	}
}

// waitForLock returns when somebody waits for a row of the database, and fails
// if that somebody goes on instead.
func waitForLock(t *testing.T, w *world, goesOn <-chan error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), w.url)
	w.must(err)
	defer conn.Close(t.Context())
	for n := 0; n == 0; {
		select {
		case err := <-goesOn:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		w.must(conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n))
	}
}

// After its first look at every webhook, a sender looks only at tenants with
// events since, and still misses none, also of a transaction that began before.
func TestLaterLooksMissNothing(t *testing.T) {
	w, k := newWorld(t), newSink(t)
	acme, quiet := w.tenant("acme"), w.tenant("quiet")
	w.hook(&acme, k.url)
	w.hook(&quiet, k.url)
	s := w.sender()
	w.once(s)
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- w.db.InTenant(t.Context(), acme, func(tx *db.Tx) error {
			row, err := tx.LockTenant(t.Context(), acme)
			if err != nil {
				return err
			}
			head, events := audit.Chain(audit.Head{TenantID: acme, Seq: row.AuditSeq, Hash: row.AuditHash},
				[]audit.Event{somebody.Event(noon, audit.AuthorizationDenied)})
			if _, err := tx.MoveAuditHeads(t.Context(), db.MoveAuditHeadsParams{
				TenantIds: []uuid.UUID{acme}, OldSeqs: []int64{row.AuditSeq}, Seqs: []int64{head.Seq}, Hashes: [][]byte{head.Hash},
			}); err != nil {
				return err
			}
			err = tx.InsertAuditEvents(t.Context(), db.InsertAuditEventsParams(audit.ToColumns(events)))
			close(began)
			<-goOn
			return err
		})
	}()
	<-began
	for range 3 {
		w.must(s.turnPolled(t.Context())) // while it is not committed
	}
	close(goOn)
	w.must(<-done)
	w.must(s.turnPolled(t.Context()))
	w.once(s)
	exactlyOnce(t, k.take(), 3, 3, "acme")
}
