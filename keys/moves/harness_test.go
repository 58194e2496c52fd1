package moves

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

var (
	tester = audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: "test", Name: "test"}, RequestID: "test-request"}
	robot  = audit.By{Actor: audit.Actor{Type: audit.ActorWorker, ID: "worker", Name: "worker"}}
)

// clock is a time that tests move.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
	move   func() bool // lets the database accept moved times; nil once it did
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	if c.move != nil && c.move() {
		c.move = nil
	}
}

// process is one process of the platform: its own pool, memory and listener.
type process struct {
	dsn       string
	db        *db.DB
	master    string
	clock     *clock
	custody   *custody.Custody
	store     *Store
	snapshots *snapshot.Cache
	signer    *signing.Signer
	audit     *audit.Store
	tenants   *tenant.Store
	listener  *db.Listener
	heard     chan string // slugs, as changes are heard of
	connected chan struct{}
	deaf      atomic.Bool                 // the listener has not proved anything for long
	cut       atomic.Bool                 // what the listener hears gets nowhere
	heardLast atomic.Pointer[age.Instant] // set: it has heard nothing since
	// heardUntil is what the listener has proved, by the test's clock.
	heardUntil func() age.Instant
}

// configs are what a test may change of a process before it starts.
type configs struct {
	custody custody.Config
	signer  signing.Config
}

// newProcess starts a platform on a fresh database.
func newProcess(t testing.TB, change ...func(*configs)) *process {
	t.Helper()
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	return newProcessOn(t, dbtest.New(t), uri, change...)
}

// newProcessOn starts a platform on a database that has none yet.
func newProcessOn(t testing.TB, dsn, uri string, change ...func(*configs)) *process {
	t.Helper()
	shown.Database(t, dsn, func() string { return uri })
	p := startProcess(t, dsn, uri, &clock{move: func() bool { return dbtest.MoveTime(t, dsn) }}, change...)
	if err := p.store.EnsurePlatform(t.Context(), tester); err != nil {
		t.Fatal(err)
	}
	return p
}

// another starts a second process beside p.
func (p *process) another(t testing.TB, change ...func(*configs)) *process {
	return startProcess(t, p.dsn, p.master, p.clock, change...)
}

func startProcess(t testing.TB, dsn, master string, c *clock, change ...func(*configs)) *process {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{URL: dsn, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	log := slog.New(slog.NewTextHandler(shown.Place("the log of "+t.Name()), &slog.HandlerOptions{Level: slog.LevelDebug}))
	p := &process{dsn: dsn, db: d, master: master, clock: c, heard: make(chan string, 10_000), connected: make(chan struct{}, 100)}
	cfg := configs{
		custody: custody.Config{DB: d, URI: master, Now: c.Now, Log: log},
		signer:  signing.Config{DB: d, Now: c.Now, Log: log},
	}
	for _, change := range change {
		change(&cfg)
	}
	p.custody = custody.New(cfg.custody)
	if err := p.custody.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	generator := NewGenerator(GeneratorConfig{Ready: 1})
	generator.onKey = learn
	t.Cleanup(generator.Close)
	p.store = New(Config{DB: d, Custody: p.custody, Generator: generator, Now: c.Now, Log: log})
	p.listener = &db.Listener{URL: dsn, Log: log}
	// The listener proves in real time that it hears; the test's clock is ahead.
	p.heardUntil = func() age.Instant {
		if last := p.heardLast.Load(); last != nil {
			return *last
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		at := p.listener.HeardUntil()
		if p.deaf.Load() {
			return age.Instant{}
		}
		return at.Step(c.offset)
	}
	p.snapshots = snapshot.New(snapshot.Config{DB: d, PublicURL: "https://keys.example", Now: c.Now, Log: log, HeardUntil: p.heardUntil, Authority: p.custody.Authority()})
	cfg.signer.Snapshots, cfg.signer.Custody = p.snapshots, p.custody
	p.signer = signing.New(cfg.signer)
	p.audit = audit.New(audit.Config{DB: d, Now: c.Now})
	p.tenants = tenant.New(tenant.Config{DB: d, Now: c.Now, Authority: p.custody.Authority()})
	p.listen(t)
	return p
}

// listen runs the listener until the test ends and waits until it hears.
func (p *process) listen(t testing.TB) {
	p.listener.Connected = func() { p.snapshots.Missed(); p.signer.Missed(); p.connected <- struct{}{} }
	p.listener.Changed = func(id uuid.UUID, slug string) {
		if p.cut.Load() {
			return
		}
		p.snapshots.Changed(id, slug)
		p.signer.Changed(id)
		p.heard <- slug
	}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { p.listener.Run(ctx) })
	t.Cleanup(func() { stop(); done.Wait() })
	<-p.connected
}

// await waits until a change of the tenant has been heard of.
func (p *process) await(t testing.TB, slug string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case got := <-p.heard:
			if got == slug {
				return
			}
		case <-timeout:
			t.Fatalf("no change of %s was heard of", slug)
		}
	}
}

// tenant creates one with the policies, or the default one.
func (p *process) tenant(t testing.TB, slug string, policies ...tenant.Policy) tenant.Tenant {
	t.Helper()
	made, err := p.store.CreateTenant(t.Context(), tester,
		tenant.Spec{Slug: slug, Caching: tenant.DefaultCaching, Policies: policies})
	if err != nil {
		t.Fatal(err)
	}
	p.await(t, slug) // so that what is heard next is news
	return made
}

// in returns the kids of a tenant's keys that are in a state, newest first.
func (p *process) in(t testing.TB, id uuid.UUID, state keys.State) []string {
	t.Helper()
	page, err := p.store.List(t.Context(), id, Filter{State: state, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	kids := []string{}
	for _, k := range page.Items {
		kids = append(kids, k.KID)
	}
	return kids
}

// only returns the one key in a state.
func (p *process) only(t testing.TB, id uuid.UUID, state keys.State) string {
	t.Helper()
	kids := p.in(t, id, state)
	if len(kids) != 1 {
		t.Fatalf("%d keys are %s, want one", len(kids), state)
	}
	return kids[0]
}

// tick lets the worker do all that is due.
func (p *process) tick(t testing.TB) Done {
	t.Helper()
	var sum Done
	for {
		done, err := p.store.RunDue(t.Context(), robot, 100)
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(done)
		if sum.Next = done.Next; done.Tenants == 0 {
			return sum
		}
	}
}

// intact fails the test unless the tenant's audit chain is whole and its JWK
// Set is served as its keys have it.
func (p *process) intact(t testing.TB, id uuid.UUID) {
	t.Helper()
	p.served(t, id)
	report, err := p.audit.Verify(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Intact {
		t.Fatalf("the audit chain of %s is broken: %+v", id, report)
	}
	err = p.audit.Export(t.Context(), audit.Filter{TenantID: id, Ascending: true}, func(e audit.Event) error {
		if e.ToState != "" && !e.Action.LeadsTo(e.ToState) {
			t.Errorf("a list of what became %s would miss event %d, %s", e.ToState, e.Seq, e.Action)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
