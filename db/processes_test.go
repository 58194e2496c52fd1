package db_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// peer is a process that listens until it is stopped.
type peer struct {
	*db.Listener
	db   *db.DB
	id   uuid.UUID
	mu   sync.Mutex
	seen []string      // slugs, in the order of Changed
	hold chan struct{} // Changed waits for it; nil: not
	stop func()
}

func newPeer(t *testing.T, url, name string) *peer {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{URL: url, MaxConns: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	p := &peer{db: d, id: uuid.New()}
	connected := make(chan struct{}, 10)
	p.Listener = &db.Listener{
		URL: url, Clock: d, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Heartbeat: 50 * time.Millisecond,
		Self: func() db.ProcessInfo {
			return db.ProcessInfo{ID: p.id, Name: name, Kind: "serve", Version: "1", MasterKeys: []string{"v1"}}
		},
		Connected: func() { connected <- struct{}{} },
		Changed: func(_ uuid.UUID, slug string) {
			p.mu.Lock()
			hold := p.hold
			p.mu.Unlock()
			if hold != nil {
				<-hold
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.seen = append(p.seen, slug)
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { p.Run(ctx) })
	p.stop = func() { cancel(); done.Wait() }
	t.Cleanup(p.stop)
	receive(t, connected)
	await(t, func() bool { return p.Up() })
	return p
}

// await waits until something is true.
func await(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not become true")
		}
		if err := db.Pause(t.Context(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *peer) has(slug string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.seen, slug)
}

func (p *peer) holdUp(hold chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = hold
}

// A confirmation comes after the change was passed on; a process that is busy with it, or
// does nothing at all, is named when the time is over; one that has stopped is not waited
// for.
func TestConfirm(t *testing.T) {
	url := dbtest.New(t)
	seed(t, url)
	one, two, three := newPeer(t, url, "one"), newPeer(t, url, "two"), newPeer(t, url, "three")
	change := func(slug string) { tell(t, one.db, a, slug, nil) }
	for i := range 50 {
		slug := "c" + strings.Repeat("x", i)
		change(slug)
		live, missing := one.Confirm(t.Context(), 20*time.Second)
		if live != 3 || len(missing) != 0 || !two.has(slug) || !three.has(slug) {
			t.Fatalf("%d live, %v did not confirm; two has it: %t, three: %t", live, missing, two.has(slug), three.has(slug))
		}
	}
	hold := make(chan struct{})
	two.holdUp(hold)
	change("held")
	began := time.Now()
	const patience = 2 * time.Second // in which the third confirms on a busy machine too
	live, missing := one.Confirm(t.Context(), patience)
	if live != 3 || !slices.Equal(missing, []string{"two"}) || time.Since(began) < patience {
		t.Errorf("%d live, %v did not confirm, after %v", live, missing, time.Since(began))
	}
	two.holdUp(nil)
	close(hold)
	if live, missing = one.Confirm(t.Context(), 20*time.Second); live != 3 || len(missing) != 0 || !two.has("held") {
		t.Errorf("%d live, %v did not confirm", live, missing)
	}
	three.stop()
	if live, missing = one.Confirm(t.Context(), 20*time.Second); live != 2 || len(missing) != 0 {
		t.Errorf("after a stop: %d live, %v did not confirm", live, missing)
	}
	await(t, func() bool { live, others := one.Live(); return live == 2 && slices.Equal(others, []string{"two"}) })
	// A process that was killed counts until its row is 10 s old.
	dbtest.Exec(t, url, `INSERT INTO processes (id, name, kind, version, address, master_keys, clock_offset_microseconds, confirmed_until, heard_at)
		VALUES (gen_random_uuid(), 'killed', 'worker', '1', '', '{}', 0, now(), now() - interval '2 s'), (gen_random_uuid(), 'gone', 'worker', '1', '', '{}', 0, now(), now() - interval '11 s')`)
	if live, missing = one.Confirm(t.Context(), patience); live != 3 || !slices.Equal(missing, []string{"killed"}) {
		t.Errorf("after a kill: %d live, %v did not confirm", live, missing)
	}
	rows, err := one.db.LiveProcesses(t.Context(), 100*time.Millisecond)
	if err != nil || len(rows) != 3 || rows[0].Name != "killed" || !slices.Equal(rows[1].MasterKeys, []string{"v1"}) {
		t.Errorf("%+v, %v", rows, err)
	}
}

// A database that refuses the row of a process does not end its listening.
func TestUnregisteredProcessListens(t *testing.T) {
	url := dbtest.New(t)
	seed(t, url)
	dbtest.Exec(t, url, "REVOKE ALL ON processes FROM keyward_platform")
	p := newPeer(t, url, "p")
	tell(t, p.db, a, "heard", nil)
	await(t, func() bool { return p.has("heard") })
	if live, others := p.Live(); live != 1 || len(others) != 0 {
		t.Errorf("%d live, %v", live, others)
	}
}
