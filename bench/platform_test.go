package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// TestMain is also the other process of a load.
func TestMain(m *testing.M) {
	if text := os.Getenv(loadVariable); text != "" {
		if err := generate(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	room := headroom()
	code := m.Run()
	runtime.KeepAlive(room)
	os.Exit(code)
}

// headroom is what keyward serve leaves the garbage collector (cmd/keyward). The
// yardsticks run in the same process and have it too.
func headroom() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, 8<<20)
}

// platform is Keyward as keyward serve runs it, metrics and listener included;
// the worker is called by hand.
type platform struct {
	addr, dsn string
	db        *db.DB
	custody   *custody.Custody
	store     *moves.Store
	generator *moves.Generator
	snapshots *snapshot.Cache
	signer    *signing.Signer
	tenants   *tenant.Store

	ahead atomic.Int64 // of the real clock, in nanoseconds
}

var operator = audit.By{Actor: audit.Actor{Type: audit.ActorOperator, ID: "bench", Name: "bench"}}

// poolSize is the default of keyward serve on up to four cores.
const poolSize = 4

const publicURL = "https://keys.example.com"

func (p *platform) now() time.Time {
	return time.Now().UTC().Truncate(time.Microsecond).Add(time.Duration(p.ahead.Load()))
}

// pass moves the clock on.
func (p *platform) pass(tb testing.TB, d time.Duration) {
	tb.Helper()
	if p.ahead.Add(int64(d)) == int64(d) {
		dbtest.MoveTime(tb, p.dsn)
	}
}

func newPlatform(tb testing.TB) *platform {
	tb.Helper()
	uri := "file:" + filepath.Join(tb.TempDir(), "master.json")
	if _, err := seal.Init(tb.Context(), uri); err != nil {
		tb.Fatal(err)
	}
	return openPlatform(tb, dbtest.New(tb), uri)
}

// openPlatform is one process on a database; there can be several.
func openPlatform(tb testing.TB, dsn, uri string) *platform {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	d, err := db.Open(tb.Context(), db.Config{URL: dsn, MaxConns: poolSize})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(d.Close)
	p := &platform{dsn: dsn, db: d}
	p.custody = custody.New(custody.Config{DB: d, URI: uri, Now: p.now, Log: log})
	if err := p.custody.Open(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	p.generator = moves.NewGenerator(moves.GeneratorConfig{})
	tb.Cleanup(p.generator.Close)
	listener := &db.Listener{URL: dsn, Log: log}
	p.snapshots = snapshot.New(snapshot.Config{
		DB: d, PublicURL: publicURL, Now: p.now, Log: log, HeardUntil: listener.HeardUntil, MaxBytes: 2 << 30, Authority: p.custody.Authority(),
	})
	p.store = moves.New(moves.Config{DB: d, Custody: p.custody, Generator: p.generator, Now: p.now, Log: log, Requests: p.snapshots.Requests})
	p.signer = signing.New(signing.Config{DB: d, Snapshots: p.snapshots, Custody: p.custody, Now: p.now, Log: log})
	p.tenants = tenant.New(tenant.Config{DB: d, Now: p.now, Authority: p.custody.Authority()})
	history := audit.New(audit.Config{DB: d, Now: p.now})
	if err := p.store.EnsurePlatform(tb.Context(), operator); err != nil {
		tb.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Config{
		PublicURL: publicURL, Store: p.store, Snapshots: p.snapshots, Signer: p.signer, Tenants: p.tenants, Audit: history,
		Metrics: prometheus.NewRegistry(), Now: p.now, Log: log, Version: "bench",
	})
	if err != nil {
		tb.Fatal(err)
	}
	p.addr = serveOn(tb, handler)
	p.listen(tb, listener, history)
	return p
}

func (p *platform) listen(tb testing.TB, l *db.Listener, history *audit.Store) {
	connected := make(chan struct{}, 1)
	l.Connected = func() {
		p.snapshots.Missed()
		p.signer.Missed()
		p.tenants.Invalidate()
		history.Missed()
		select {
		case connected <- struct{}{}:
		default:
		}
	}
	l.Changed = func(id uuid.UUID, slug string) {
		p.snapshots.Changed(id, slug)
		p.signer.Changed(id)
		p.tenants.Changed(id)
		history.Changed(id)
	}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { l.Run(ctx) })
	tb.Cleanup(func() { stop(); done.Wait() })
	<-connected
}

// serveOn serves a handler as keyward does, and returns its address.
func serveOn(tb testing.TB, handler http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 120 * time.Second, MaxHeaderBytes: 64 << 10,
	}
	go func() { _ = s.Serve(l) }()
	tb.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// key is a credential of a role.
func (p *platform) key(tb testing.TB, role tenant.Role) string {
	_, key, err := p.tenants.CreateAPIKey(tb.Context(), operator, tenant.NewAPIKey{Role: role, Name: "bench"})
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(p*float64(len(all))))]
}

// fetch asks once.
func fetch(tb testing.TB, url string) (*http.Response, []byte) {
	tb.Helper()
	res, err := http.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		tb.Fatalf("%s: %d %s %v", url, res.StatusCode, body, err)
	}
	return res, body
}
