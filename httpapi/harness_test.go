package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/adoption"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/signin"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/webhook"
)

const testPublicURL = "https://keys.example.com"

// world is a whole platform behind a listener: everything but the worker.
type world struct {
	dns            *nameServer // nil: none
	t              testing.TB
	dsn            string
	db             *db.DB
	url            string
	server         *server
	tenants        *tenant.Store
	store          *moves.Store
	snapshots      *snapshot.Cache
	signer         *signing.Signer
	webhooks       *webhook.Store
	sender         *webhook.Sender
	adoption       *adoption.Counter
	listener       *db.Listener
	log            *lockedBuffer
	clock          *clock
	contract       *contract
	configure      func(*Config)
	configureStore []func(*moves.Config)
	masterURI      string

	root string // the key of a platform_admin
}

// clock is the real time, until a test moves it on.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
	move  func() bool // lets the database accept moved times; nil once it did

	// wrong is by how much the process's clock is ahead of what it should say; nil: 0.
	wrong func() time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().Add(c.ahead)
	if c.wrong != nil {
		now = now.Add(c.wrong())
	}
	return now
}

// isWrong makes the clock wrong; nil corrects it.
func (c *clock) isWrong(by func() time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = by
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
	if c.move != nil && c.move() {
		c.move = nil
	}
}

// lockedBuffer is a log that many write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var operator = audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: "test", Name: "test"}}

// newWorld starts a platform on a fresh database.
func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, dbtest.New(t))
}

// newWorldOn starts a platform on a migrated database.
func newWorldOn(t testing.TB, dsn string) *world {
	t.Helper()
	return newWorldWith(t, dsn, Streams{})
}

// newWorldWith starts a platform with limits of its own.
func newWorldWith(t testing.TB, dsn string, streams Streams) *world {
	t.Helper()
	return newWorldLike(t, dsn, func(c *Config) { c.Streams = streams })
}

// newWorldLike starts a platform that is configured otherwise.
func newWorldLike(t testing.TB, dsn string, configure func(*Config), store ...func(*moves.Config)) *world {
	t.Helper()
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	shown.Database(t, dsn, func() string { return uri })
	w := &world{t: t, dsn: dsn, log: &lockedBuffer{}, clock: &clock{move: func() bool { return dbtest.MoveTime(t, dsn) }}, contract: contractOf(t), configure: configure, masterURI: uri, configureStore: store}
	d, err := db.Open(t.Context(), db.Config{URL: w.dsn, MaxConns: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	w.wire(d, uri)
	w.listen()
	handler := httptest.NewServer(w.server)
	t.Cleanup(handler.Close)
	t.Cleanup(w.server.denials.writing.Wait)
	w.url = handler.URL
	_, w.root, err = w.tenants.CreateAPIKey(t.Context(), operator, tenant.NewAPIKey{Role: tenant.PlatformAdmin, Name: "root"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// sharedDocument is read once for all worlds: it is an eighth of what a world costs.
var sharedDocument = sync.OnceValues(readDocument)

func (w *world) wire(d *db.DB, masterURI string) {
	w.db = d
	log := slog.New(slog.NewJSONHandler(io.MultiWriter(w.log, shown.Place("the log of "+w.t.Name())), &slog.HandlerOptions{Level: slog.LevelDebug}))
	custody := custody.New(custody.Config{DB: d, URI: masterURI, Now: w.clock.now, Log: log})
	if err := custody.Open(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	generator := moves.NewGenerator(moves.GeneratorConfig{Ready: 1})
	w.t.Cleanup(generator.Close)
	id := uuid.New()
	w.listener = &db.Listener{URL: w.dsn, Log: log, Clock: d, Self: func() db.ProcessInfo {
		return db.ProcessInfo{ID: id, Name: "process " + id.String(), Kind: "serve", Version: "test", MasterKeys: []string{}}
	}}
	names := tenant.NewNamespace(testPublicURL)
	store := moves.Config{DB: d, Names: names, Custody: custody, Generator: generator, Now: w.clock.now, Log: log}
	for _, configure := range w.configureStore {
		configure(&store)
	}
	w.store = moves.New(store)
	w.snapshots = snapshot.New(snapshot.Config{
		DB: d, PublicURL: testPublicURL, Now: w.clock.now, Log: log, HeardUntil: w.listener.HeardUntil, Authority: custody.Authority(),
	})
	w.signer = signing.New(signing.Config{DB: d, Snapshots: w.snapshots, Custody: custody, Now: w.clock.now, Log: log})
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	guarded, refused := webhook.Guarded(loopback)
	w.tenants = tenant.New(tenant.Config{DB: d, Now: w.clock.now, Names: names, Authority: custody.Authority(), LookupTXT: w.lookupTXT, RefusedURL: refused})
	w.adoption = adoption.New(adoption.Config{DB: d, Authority: custody.Authority(), Now: w.clock.now})
	w.webhooks = webhook.NewStore(webhook.Config{DB: d, Now: w.clock.now, Allow: loopback})
	if err := w.store.EnsurePlatform(w.t.Context(), operator); err != nil {
		w.t.Fatal(err)
	}
	cfg := Config{
		PublicURL: testPublicURL + "/", Store: w.store, Snapshots: w.snapshots, Signer: w.signer, Tenants: w.tenants, Adoption: w.adoption,
		Processes: w.listener,
		Workloads: signin.NewWorkloads(signin.WorkloadsConfig{Identities: w.tenants.WorkloadsOf, Used: w.tenants.NoteWorkload, HTTPClient: guarded, Now: w.clock.now, Log: log}),
		Audit:     audit.New(audit.Config{DB: d, Now: w.clock.now}), Webhooks: w.webhooks, Metrics: prometheus.NewRegistry(),
		Now: w.clock.now, Log: log, Version: "test",
	}
	w.configure(&cfg)
	doc, err := sharedDocument()
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := newAPI(cfg, doc)
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = h.(*server)
	w.sender = w.newSender(log)
}

// lookupTXT asks the name server of the test, if it has one.
func (w *world) lookupTXT(ctx context.Context, name string) ([]string, error) {
	if w.dns == nil {
		return nil, errors.New("this test has no name server")
	}
	return tenant.TXTResolver(w.dns.address)(ctx, name)
}

// listen hears of changes until the test ends, and returns once it does.
func (w *world) listen(told ...func()) {
	connected := make(chan struct{}, 100)
	w.listener.Connected = func() {
		w.server.cfg.caches().Missed()
		connected <- struct{}{}
	}
	w.listener.Changed = func(id uuid.UUID, slug string) {
		w.server.cfg.caches().Changed(id, slug)
		for _, tell := range told {
			tell()
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { w.listener.Run(ctx) })
	w.t.Cleanup(func() { stop(); done.Wait() })
	<-connected
}

// replica is another server over the same database. told gets word of each
// change after the replica has heard of it.
func (w *world) replica(t testing.TB) (other *world, told <-chan struct{}) {
	t.Helper()
	other = w.in(t)
	d, err := db.Open(t.Context(), db.Config{URL: w.dsn, MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	other.wire(d, w.masterURI)
	heard := make(chan struct{}, 1000)
	other.listen(func() { heard <- struct{}{} })
	handler := httptest.NewServer(other.server)
	t.Cleanup(handler.Close)
	t.Cleanup(other.server.denials.writing.Wait)
	other.url = handler.URL
	return other, heard
}

// in is the same world for a part of its test.
func (w *world) in(t testing.TB) *world {
	part := *w
	part.t = t
	return &part
}

// tenant makes a tenant through the API.
func (w *world) tenant(slug string) Tenant {
	w.t.Helper()
	var t Tenant
	w.do("POST", "/v1/tenants", w.root, `{"slug":"`+slug+`"}`).ok(201, &t)
	return t
}

// key makes a credential of a role, of the tenant if the role is a tenant's.
func (w *world) key(role tenant.Role, of *uuid.UUID) string {
	w.t.Helper()
	if role.OfPlatform() {
		of = nil
	}
	_, key, err := w.tenants.CreateAPIKey(w.t.Context(), operator, tenant.NewAPIKey{TenantID: of, Role: role, Name: string(role)})
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// keys lists a tenant's keys in a state.
func (w *world) keys(ref string, state KeyState) []Key {
	w.t.Helper()
	var list KeyList
	w.do("GET", "/v1/tenants/"+ref+"/keys?state="+string(state), w.root, "").ok(200, &list)
	return list.Items
}

// scalar asks the database itself.
func scalar[T any](w *world, sql string, args ...any) (v T) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context())
	if err := conn.QueryRow(w.t.Context(), sql, args...).Scan(&v); err != nil {
		w.t.Fatal(err)
	}
	return v
}

// state is everything that a request could change, in one text.
func (w *world) state() string {
	w.t.Helper()
	w.server.denials.writing.Wait()
	return scalar[string](w, `SELECT concat_ws('|',
		(SELECT string_agg(id || ':' || audit_seq || ':' || status || ':' || updated_at, ',' ORDER BY id) FROM tenants),
		(SELECT string_agg(tenant_id || alg || updated_at || is_default, ',' ORDER BY tenant_id, alg) FROM policies),
		(SELECT string_agg(kid || state, ',' ORDER BY kid) FROM keys),
		(SELECT count(*) FROM audit_events WHERE action <> 'authorization.denied'),
		(SELECT count(*) FROM api_keys WHERE revoked_at IS NULL), (SELECT count(*) FROM workload_identities WHERE deleted_at IS NULL), (SELECT count(*) FROM idempotency_keys))`)
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
