package db_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// forge sends notifications as a login that has no privilege at all.
func forge(t *testing.T, d *db.DB, channel string, payloads ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.Pool().Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "SET ROLE keyward_public"); err != nil {
		t.Fatal(err)
	}
	b := &pgx.Batch{}
	for _, payload := range payloads {
		b.Queue("SELECT pg_notify($1, $2)", channel, payload)
	}
	if err := conn.SendBatch(t.Context(), b).Close(); err != nil {
		t.Fatal(err)
	}
}

// listenAs is a registered process that listens.
func listenAs(t *testing.T, d *db.DB, name string, log *slog.Logger, changed func(uuid.UUID, string)) *db.Listener {
	t.Helper()
	id, connected := uuid.New(), make(chan struct{}, 10)
	l := &db.Listener{
		URL: d.Pool().Config().ConnString(), Log: log, Clock: d, Changed: changed, Connected: func() { connected <- struct{}{} },
		Self: func() db.ProcessInfo {
			return db.ProcessInfo{ID: id, Name: name, Kind: "serve", Version: "test", MasterKeys: []string{}}
		},
	}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { l.Run(ctx) })
	t.Cleanup(func() { stop(); done.Wait() })
	receive(t, connected)
	return l
}

// A login that may do nothing but notify neither fills the log, nor makes a process look
// as if it had confirmed a change, nor keeps processes from confirming.
func TestForgedNotifications(t *testing.T) {
	d := open(t, 6)
	var log bytes.Buffer
	heard := make(chan string, 10)
	l := listenAs(t, d, "one", slog.New(slog.NewTextHandler(&log, nil)), func(_ uuid.UUID, slug string) { heard <- slug })
	listenAs(t, d, "two", slog.New(slog.DiscardHandler), func(uuid.UUID, string) {})
	deaf := uuid.New() // registered, and never answers
	dbtest.Exec(t, d.Pool().Config().ConnString(), `INSERT INTO processes (id, name, kind, version, address, master_keys, clock_offset_microseconds, confirmed_until, heard_at)
		VALUES ($1, 'deaf', 'serve', 'test', '', '{}', 0, 'epoch', clock_timestamp() + interval '1 hour')`, deaf)
	const never = int64(1)<<62 + 1
	noise := []string{fmt.Sprintf("ask %d", never), "ask -1", "ask", "done", "done x 1", fmt.Sprintf("done %s %d", deaf, never)}
	for range 1000 {
		noise = append(noise, fmt.Sprintf("done %s %d", uuid.New(), never))
	}
	forge(t, d, "keyward_confirm", noise...)
	var rubbish []string
	for i := range 1000 {
		rubbish = append(rubbish, fmt.Sprint("rubbish ", i))
	}
	forge(t, d, "keyward", append(rubbish, uuid.NewString()+" last")...)
	if slug := receive(t, heard); slug != "last" {
		t.Errorf("heard of %s", slug)
	}
	if n := strings.Count(log.String(), "notification ignored"); n != 1 {
		t.Errorf("%d log entries about forged notifications, want one", n)
	}
	asked := make(chan []string)
	go func() {
		_, unconfirmed := l.Confirm(t.Context(), 5*time.Second)
		asked <- unconfirmed
	}()
	forge(t, d, "keyward_confirm", noise...)
	if unconfirmed := <-asked; len(unconfirmed) != 1 || unconfirmed[0] != "deaf" {
		t.Errorf("not confirmed by %v, want by the deaf process alone", unconfirmed)
	}
}
