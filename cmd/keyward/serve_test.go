package main

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// running is the program running in this process.
type running struct {
	log  <-chan string // lines
	stop func() int    // ends it and returns its exit code
}

func launch(t *testing.T, env environ, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		log := io.MultiWriter(w, shown.Place("the log of "+t.Name()))
		code <- runProgram(ctx, args, strings.NewReader(""), shown.Place("the output of "+t.Name()), log, env.get)
		w.Close()
	}()
	log := make(chan string, 10_000) // large, so that logging does not block
	go func() {
		defer close(log)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			log <- lines.Text()
		}
	}()
	stop := func() int {
		cancel()
		c := <-code
		code <- c
		return c
	}
	t.Cleanup(func() { stop() })
	return &running{log: log, stop: stop}
}

// until reads the log up to a matching line and returns the submatches.
func (r *running) until(t *testing.T, pattern string) []string {
	t.Helper()
	var seen []string
	re := regexp.MustCompile(pattern)
	for line := range r.log {
		if m := re.FindStringSubmatch(line); m != nil {
			return m
		}
		seen = append(seen, line)
	}
	t.Fatalf("the log ended without %s:\n%s", pattern, strings.Join(seen, "\n"))
	return nil
}

func status(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func TestServe(t *testing.T) {
	env := deployed(t)
	for name, c := range map[string]struct {
		args    []string
		metrics int
		worker  string
	}{
		"as it comes": {[]string{"serve"}, http.StatusOK, "true"},
		"with less":   {[]string{"serve", "--no-metrics", "--no-worker", "--migrate", "--log-format=text"}, http.StatusNotFound, "false"},
	} {
		t.Run(name, func(t *testing.T) {
			r := launch(t, env, c.args...)
			m := r.until(t, `msg=serving url=(\S+) .*worker=(\w+)`)
			if m[2] != c.worker {
				t.Errorf("worker=%s", m[2])
			}
			if got := status(t, m[1]+"/readyz"); got != http.StatusOK {
				t.Errorf("/readyz: %d", got)
			}
			if got := status(t, m[1]+"/metrics"); got != c.metrics {
				t.Errorf("/metrics: %d, want %d", got, c.metrics)
			}
			http.DefaultClient.CloseIdleConnections()
			if code := r.stop(); code != exitOK {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// A shutdown is announced on a stream, and the stream does not delay it.
func TestStopWithAStreamOpen(t *testing.T) {
	env := deployed(t)
	key := keyward(t, env, "api-key", "create", "--role=platform_auditor", "--name=listener").stdout
	r := launch(t, env, "serve", "--no-worker", "--log-format=text")
	url := r.until(t, `msg=serving url=(\S+)`)[1]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+regexp.MustCompile(`kw_\w+`).FindString(key))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if code := r.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if heard, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(heard), "\n: this process is shutting down") {
		t.Errorf("%d %q, %v", resp.StatusCode, heard, err)
	}
	for line := range r.log {
		if strings.Contains(line, "requests in flight aborted") {
			t.Error(line)
		}
	}
}

func TestDevOnAGivenDatabase(t *testing.T) {
	dir := t.TempDir()
	env := environ{"KEYWARD_DATABASE_URL": dbtest.Empty(t), "KEYWARD_ADDR": "127.0.0.1:0"}
	shown.Database(t, env["KEYWARD_DATABASE_URL"], func() string { return "file:" + filepath.Join(dir, masterFile) })
	r := launch(t, env, "dev", "--data-dir="+dir)
	m := r.until(t, `msg=serving url=(\S+)`)
	if got := status(t, m[1]+"/t/demo/.well-known/jwks.json"); got != http.StatusOK {
		t.Errorf("the JWKS of the demo tenant: %d", got)
	}
	http.DefaultClient.CloseIdleConnections()
	if code := r.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(dir, clusterDir)); err == nil {
		t.Error("a cluster was made beside the given database")
	}
	key := adminKey(t, dir)
	withMasterKey := maps.Clone(env)
	withMasterKey["KEYWARD_MASTER_KEY"] = "file:" + filepath.Join(dir, masterFile)
	if who := authenticate(t, withMasterKey, key); who.Role != tenant.PlatformAdmin {
		t.Errorf("the admin key speaks for %+v", who)
	}
	dbtest.Exec(t, env["KEYWARD_DATABASE_URL"], "SET session_replication_role = replica; UPDATE api_keys SET revoked_at = now()")
	again := launch(t, env, "dev", "--data-dir="+dir)
	again.until(t, `msg=serving`)
	if adminKey(t, dir) == key {
		t.Error("a key that opens nothing was kept")
	}
}

// The second worker leads at once, because the first released its lease.
func TestWorker(t *testing.T) {
	env := deployed(t)
	for range 2 {
		r := launch(t, env, "worker", "--log-format=json")
		r.until(t, `"msg":"leadership acquired"`)
		if code := r.stop(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
}

// A worker with an admin address answers health checks and metrics there, and
// nothing else. Its metrics have every age, and the census once it leads.
func TestWorkerWithAnAddress(t *testing.T) {
	r := launch(t, deployed(t), "worker", "--admin-addr=127.0.0.1:0", "--log-format=text")
	url := r.until(t, `msg=working .*admin_url=(\S+)`)[1]
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/metrics": 200, "/v1/tenants": 404, "/.well-known/jwks.json": 404, "/t/platform/.well-known/jwks.json": 404, "/docs": 404,
	} {
		if got := status(t, url+path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	eventually(t, "a census and every age in the metrics", func() bool {
		text := fetchText(t, url+"/metrics")
		for _, sample := range []string{
			`keyward_keys{alg="ES256",state="active"} 1`, `keyward_keys{alg="ES256",state="standby"} 1`, "keyward_policies_without_standby 0", "keyward_worker_lease_age_seconds ",
			"keyward_oldest_due_policy_age_seconds 0", "keyward_webhook_oldest_event_age_seconds 0", "keyward_webhook_oldest_delivery_age_seconds 0",
		} {
			if !strings.Contains(text, "\n"+sample) {
				return false
			}
		}
		return true
	})
	http.DefaultClient.CloseIdleConnections()
	if code := r.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if resp, err := http.Get(url + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("it still answers")
	}
}

func fetchText(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// With an admin address, all other paths are served there only.
func TestAdminAddress(t *testing.T) {
	env := deployed(t)
	r := launch(t, env, "serve", "--no-worker", "--admin-addr=127.0.0.1:0", "--log-format=text")
	m := r.until(t, `msg=serving url=(\S+) .*admin_url=(\S+)`)
	for path, want := range map[string][2]int{
		"/readyz": {200, 200}, "/healthz": {200, 200}, "/.well-known/jwks.json": {200, 200},
		"/metrics": {404, 200}, "/openapi.yaml": {404, 200}, "/docs": {404, 200}, "/v1/tenants": {404, 401},
	} {
		for i, url := range m[1:] {
			if got := status(t, url+path); got != want[i] {
				t.Errorf("%s%s: %d, want %d", url, path, got, want[i])
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if code := r.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for _, url := range m[1:] {
		if resp, err := http.Get(url + "/healthz"); err == nil {
			resp.Body.Close()
			t.Errorf("%s still answers", url)
		}
	}
}
