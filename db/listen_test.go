package db_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
)

// hearing is a listener that runs until the test ends.
type hearing struct {
	*db.Listener
	connected chan struct{}
	heard     chan string
}

func listen(t *testing.T, d *db.DB) hearing {
	t.Helper()
	h := hearing{connected: make(chan struct{}, 10), heard: make(chan string, 10)}
	h.Listener = &db.Listener{
		URL: d.Pool().Config().ConnString(), Heartbeat: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Clock:     d,
		Connected: func() { h.connected <- struct{}{} },
		Changed:   func(id uuid.UUID, slug string) { h.heard <- id.String() + " " + slug },
	}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { h.Run(ctx) })
	t.Cleanup(func() { stop(); done.Wait() })
	receive(t, h.connected)
	return h
}

func receive[T any](t *testing.T, from chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	return v
}

// tell commits a change of a tenant, or not.
func tell(t *testing.T, d *db.DB, id uuid.UUID, slug string, end error) {
	t.Helper()
	_ = d.AsPlatform(t.Context(), func(tx *db.Tx) error {
		if err := tx.NotifyChanges(t.Context(), []string{id.String() + " " + slug}); err != nil {
			t.Error(err)
		}
		return end
	})
}

// A commit is heard, what was rolled back is not; after its connection broke
// the listener says so by connecting again, and hears.
func TestListener(t *testing.T) {
	d := open(t, 2)
	h := listen(t, d)
	tell(t, d, b, "b", errUndo)
	tell(t, d, a, "a", nil)
	if got := receive(t, h.heard); got != a.String()+" a" {
		t.Errorf("heard of %s", got)
	}

	const cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ '^(listen|select 1)'"
	conn, err := pgx.Connect(t.Context(), d.Pool().Config().ConnString()) // as the superuser
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), cut).Scan(&n); err != nil || n != 1 {
		t.Fatalf("cut %d connections, %v", n, err)
	}
	receive(t, h.connected)
	tell(t, d, b, "b", nil)
	if got := receive(t, h.heard); got != b.String()+" b" {
		t.Errorf("heard of %s", got)
	}
}

// What was committed before HeardUntil has been heard of; with a connection
// that works it is never long ago.
func TestHeardUntilMovesOn(t *testing.T) {
	d := open(t, 2)
	silent := &db.Listener{}
	if !silent.HeardUntil().IsZero() || silent.Up() {
		t.Error("who never listened has heard everything")
	}
	h := listen(t, d)
	tell(t, d, a, "a", nil)
	committed := time.Now()
	for deadline := committed.Add(20 * time.Second); !h.HeardUntil().Wall().After(committed); {
		if time.Now().After(deadline) {
			t.Fatalf("heard until %v, it is %v", h.HeardUntil().Wall(), time.Now())
		}
	}
	if len(h.heard) != 1 || !h.Up() {
		t.Errorf("heard of %d changes, up: %v", len(h.heard), h.Up())
	}
}
