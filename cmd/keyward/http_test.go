package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// opened returns an app on its own database, not yet running.
func opened(t *testing.T, url string) *app {
	t.Helper()
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	shown.Database(t, url, func() string { return uri })
	log := shown.Place("the log of " + t.Name())
	p := &program{log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), stdout: log, stderr: log}
	p.cfg = config{databaseURL: url, listenURL: url, masterKey: uri, shutdownTimeout: patience, defaultPolicy: tenant.DefaultPolicy(jose.ES256)}
	a, err := p.openApp(t.Context(), "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	return a
}

func TestRequestsInFlightAreFinished(t *testing.T) {
	a := opened(t, dbtest.New(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived, answer := make(chan struct{}), make(chan struct{})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-answer
		io.WriteString(w, "done")
	})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.serveRequests(ctx, []*http.Server{s}, []net.Listener{l}, func() {}) }()
	got := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		got <- string(body)
	}()
	<-arrived
	s.RegisterOnShutdown(func() { close(answer) }) // so that the answer comes after the signal
	cancel()
	if body := <-got; body != "done" {
		t.Errorf("the request in flight got %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if checks := a.checkReady(t.Context()); checks["process"] == nil {
		t.Errorf("ready while stopping: %v", checks)
	}
}

func TestReadiness(t *testing.T) {
	server := dbtest.NewServer(t)
	a := opened(t, server.DSN())
	want := func(broken ...string) {
		t.Helper()
		a.ready.at = time.Time{} // expire the cached result
		checks := a.checkReady(t.Context())
		bad := map[string]bool{}
		for _, name := range broken {
			bad[name] = true
		}
		for _, name := range []string{"database", "migrations", "master_key"} {
			if err, known := checks[name]; !known || (err != nil) != bad[name] {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	want()
	dbtest.Exec(t, server.DSN(), "DELETE FROM keyward_migrations WHERE version_id = (SELECT max(version_id) FROM keyward_migrations)")
	want("migrations")
	server.Stop()
	want("database")
	server.Start()
	want("migrations")
}

// A change in one process invalidates the caches of another.
func TestChangesReachOtherProcesses(t *testing.T) {
	url := dbtest.New(t)
	a := opened(t, url)
	heard := make(chan string, 16)
	changed := a.listener.Changed
	connected := make(chan struct{})
	a.listener = &db.Listener{
		URL: url, Log: a.log, Connected: func() { a.onMissedChanges(); close(connected) },
		Changed: func(id uuid.UUID, slug string) { changed(id, slug); heard <- slug },
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := a.startBackground(ctx)
	defer func() { cancel(); stopped() }()
	<-connected
	if err := a.ensureDemo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slug := <-heard; slug != demoSlug {
		t.Errorf("heard of %q", slug)
	}
}

func TestPublicURL(t *testing.T) {
	for _, c := range []struct {
		cfg      config
		at, want string
	}{
		{config{}, "127.0.0.1:8080", "http://127.0.0.1:8080"},
		{config{}, "[::]:8080", "http://localhost:8080"},
		{config{}, "0.0.0.0:80", "http://localhost:80"},
		{config{tlsCert: "c"}, "[::1]:8443", "https://[::1]:8443"},
		{config{publicURL: "https://keys.example.com"}, "[::]:8080", "https://keys.example.com"},
	} {
		at, err := net.ResolveTCPAddr("tcp", c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.cfg.verifierURL(at); got != c.want {
			t.Errorf("public(%s) = %s, want %s", c.at, got, c.want)
		}
	}
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9090}
	for _, c := range []struct {
		cfg  config
		want string
	}{{config{}, "http"}, {config{tlsCert: "c"}, "https"}, {config{adminTLSCert: "c"}, "https"}} {
		if got := c.cfg.adminURL(at); got != c.want+"://127.0.0.1:9090" {
			t.Errorf("admin of %+v: %s", c.cfg, got)
		}
	}
}

func TestMetrics(t *testing.T) {
	a := opened(t, dbtest.New(t))
	families, err := a.newMetrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, name := range []string{
		"keyward_build_info", "keyward_due_policies", "keyward_rewrap_pending_data_keys", "keyward_keys_moved_total", "keyward_worker_leader", "keyward_worker_lease_term",
		"keyward_worker_errors_total", "keyward_snapshot_reads_total", "keyward_signatures_total", "keyward_listener_up", "keyward_db_connections",
	} {
		if !names[name] {
			t.Errorf("no metric %s", name)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{"/a/b-c.d": "/a/b-c.d", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$x": "'$x'"} {
		if got := shellQuote(in); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", in, got, want)
		}
	}
}
