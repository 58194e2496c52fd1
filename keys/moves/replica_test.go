package moves

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// reader is a process that reads tenants from a standby.
type reader struct {
	*snapshot.Cache
	heard chan string
	beats chan struct{}
}

func newReader(t *testing.T, primary, standby string, a *tenant.Authority) *reader {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{URL: primary, ReadURL: standby})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	r := &reader{heard: make(chan string, 1000), beats: make(chan struct{}, 100_000)}
	l := &db.Listener{URL: primary, Log: log, Heartbeat: 10 * time.Millisecond}
	r.Cache = snapshot.New(snapshot.Config{DB: d, PublicURL: "https://keys.example", Now: time.Now, Log: log, HeardUntil: l.HeardUntil, Authority: a})
	l.Connected = r.Missed
	l.Changed = func(id uuid.UUID, slug string) { r.Changed(id, slug); r.heard <- slug }
	l.Beat = func(place uint64) { r.Beat(place); r.beats <- struct{}{} }
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { l.Run(ctx) })
	t.Cleanup(func() { stop(); done.Wait() })
	r.await(t, 3)
	return r
}

// await waits for beats.
func (r *reader) await(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-r.beats:
		case <-time.After(2 * time.Minute):
			t.Fatal("no beat")
		}
	}
}

// get reads a tenant anew.
func (r *reader) get(t *testing.T, slug string) (snap *snapshot.Snapshot, fromReplica bool) {
	t.Helper()
	r.InvalidateAll()
	before := r.ReplicaReads()
	snap, stale, err := r.Get(t.Context(), slug)
	if err != nil || stale != 0 {
		t.Fatalf("%s: %v, stale by %v", slug, err, stale)
	}
	return snap, r.ReplicaReads() > before
}

// untilReplica reads a tenant until the standby is trusted with it.
func (r *reader) untilReplica(t *testing.T, slug string) *snapshot.Snapshot {
	t.Helper()
	for range 2000 {
		if snap, fromReplica := r.get(t, slug); fromReplica {
			return snap
		}
		r.await(t, 1)
	}
	t.Fatal("the standby is never asked")
	return nil
}

// A standby serves what it knows as well as the primary does. While its replay
// is paused, a tenant that changed comes from the primary from the moment on
// in which the change was heard, so that no revoked key is served; others still
// come from the standby. Once it has caught up it is trusted again; when it is
// gone the primary serves everything.
func TestAStandbyThatLagsServesNoRevokedKey(t *testing.T) {
	primary := dbtest.NewServer(t)
	standby := primary.Replica()
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	p := newProcessOn(t, primary.DSN(), uri)
	made := p.tenant(t, "acme")
	p.tenant(t, "other")
	r := newReader(t, primary.DSN(), standby.DSN(), p.custody.Authority())
	active := p.only(t, made.ID, keys.Active)
	if _, found, err := r.untilReplica(t, "acme").Find(active, jose.ES256); !found || err != nil {
		t.Fatal("the standby does not know the active key")
	}
	r.untilReplica(t, "other")

	dbtest.Exec(t, standby.DSN(), "SELECT pg_wal_replay_pause()")
	if _, err := p.store.Revoke(t.Context(), tester, made.ID, active, RevokeRequest{Reason: keys.Compromised}); err != nil {
		t.Fatal(err)
	}
	for heard := ""; heard != "acme"; {
		select {
		case heard = <-r.heard:
		case <-time.After(2 * time.Minute):
			t.Fatal("the revocation was not heard of")
		}
	}
	for range 20 {
		snap, fromReplica := r.get(t, "acme")
		if fromReplica || strings.Contains(string(snap.JWKS), active) {
			t.Fatalf("from the standby: %v; the revoked key is in %s", fromReplica, snap.JWKS)
		}
		r.await(t, 1) // however often the primary tells how far it is
	}
	if _, err := r.Fresh(t.Context(), "acme"); err != nil {
		t.Errorf("signing needs the primary alone: %v", err)
	}

	dbtest.Exec(t, standby.DSN(), "SELECT pg_wal_replay_resume()")
	if snap := r.untilReplica(t, "acme"); strings.Contains(string(snap.JWKS), active) {
		t.Error("the standby is trusted and serves the revoked key")
	}
	standby.Kill()
	for end := time.Now().Add(time.Minute); ; { // its sessions outlive it by a moment
		if _, fromReplica := r.get(t, "acme"); !fromReplica {
			return
		}
		if time.Now().After(end) {
			t.Fatal("read from a standby that is gone")
		}
	}
}

// A standby that was promoted, while the old primary goes on, is another database: nothing
// is read from it any more, however far its own log gets.
func TestAPromotedStandbyIsNotRead(t *testing.T) {
	primary := dbtest.NewServer(t)
	standby := primary.Replica()
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	p := newProcessOn(t, primary.DSN(), uri)
	made := p.tenant(t, "acme")
	r := newReader(t, primary.DSN(), standby.DSN(), p.custody.Authority())
	r.untilReplica(t, "acme")
	standby.Promote()
	dbtest.Exec(t, standby.DSN(), "CREATE TABLE public.much AS SELECT generate_series(1, 200000)") // its log overtakes the primary's
	active := p.only(t, made.ID, keys.Active)
	if _, err := p.store.Revoke(t.Context(), tester, made.ID, active, RevokeRequest{Reason: keys.Compromised}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if snap, fromReplica := r.get(t, "acme"); fromReplica {
			t.Fatalf("read from the promoted standby; it has the revoked key: %v", strings.Contains(string(snap.JWKS), active))
		}
		r.await(t, 1)
	}
}
