package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/publish"
)

// fetchFrom makes a request without a credential.
func fetchFrom(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// A process that starts without its database serves the published copies, marked as
// stale, none that somebody else could have changed or that is known to be old, and
// nothing else; it becomes the service when the database is back.
func TestAStartWithoutADatabase(t *testing.T) {
	server, dir := dbtest.NewServer(t), t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	env := environ{
		"KEYWARD_DATABASE_URL": server.DSN(), "KEYWARD_MASTER_KEY": "file:" + filepath.Join(t.TempDir(), "master.json"), "KEYWARD_ADDR": "127.0.0.1:0",
		"KEYWARD_PUBLIC_URL": "https://keys.example.com", "KEYWARD_PUBLISH": "file://" + dir, "KEYWARD_FALLBACK_DIR": dir,
	}
	shown.Database(t, server.DSN(), func() string { return env["KEYWARD_MASTER_KEY"] })
	keyward(t, env, "master", "init").want(t, exitOK, "Created")
	first := launch(t, env, "serve", "--log-format=text")
	a := admin{t, "http://" + first.until(t, `msg=serving .*addr=(\S+)`)[1], strings.TrimSpace(apiKey(t, env))}
	a.do("POST", "/v1/tenants", `{"slug":"acme"}`)
	a.do("POST", "/v1/tenants/acme/keys/rotate", `{}`)
	const set, signed, openID = "/t/acme/.well-known/jwks.json", "/t/acme/.well-known/jwks.jwt", "/t/acme/.well-known/openid-configuration"
	want := map[string]string{set: a.do("GET", set, ""), signed: a.do("GET", signed, ""), openID: a.do("GET", openID, ""), "/.well-known/jwks.json": a.do("GET", "/.well-known/jwks.json", "")}
	file := func(path string) string { return filepath.Join(dir, filepath.FromSlash(path)) }
	for path, body := range want {
		comes(t, path+" is published", func() bool { text, _ := os.ReadFile(file(path)); return string(text) == body })
	}
	http.DefaultClient.CloseIdleConnections()
	if code := first.stop(); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	server.Stop()
	second := launch(t, env, "serve", "--log-format=text")
	url := "http://" + second.until(t, `serving copies of JWK Sets.*addr=(\S+)`)[1]
	for path, body := range want {
		resp, text := fetchFrom(t, url+path)
		if resp.StatusCode != http.StatusOK || text != body || resp.Header.Get("Keyward-Stale") == "" || !strings.HasPrefix(resp.Header.Get("Warning"), "110 ") {
			t.Errorf("%s: %d %v %s", path, resp.StatusCode, resp.Header, text)
		}
		if again, _ := fetchFrom(t, url+path, "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.StatusCode)
		}
	}
	for path, status := range map[string]int{
		"/readyz/public": 200, "/healthz": 200, "/readyz": 503, "/v1/tenants": 503, "/t/nobody/.well-known/jwks.json": 503, "/t/acme/.well-known/jwks-history": 503,
		"/t/../.keyward/acme": 503, "/.keyward/acme": 503,
	} {
		if resp, text := fetchFrom(t, url+path); resp.StatusCode != status || status == 503 && !strings.Contains(text, `"code":"unavailable"`) && !strings.Contains(text, "PostgreSQL does not respond") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	restore := func(path string) {
		t.Helper()
		if err := errors.Join(os.Chmod(filepath.Dir(file(path)), 0o755), os.RemoveAll(file(path)), os.WriteFile(file(path), []byte(want[path]), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	damages := map[string]func() error{
		"changed":                  func() error { return os.WriteFile(file(set), []byte(want["/.well-known/jwks.json"]), 0o644) },
		"cut short":                func() error { return os.WriteFile(file(set), []byte(want[set][:40]), 0o644) },
		"writable":                 func() error { return os.Chmod(file(set), 0o666) },
		"gone":                     func() error { return os.Remove(file(set)) },
		"in a directory of others": func() error { return os.Chmod(filepath.Dir(file(set)), 0o775) }, // #nosec G302 -- what is refused
		"a link": func() error {
			return errors.Join(os.Rename(file(set), file("/t/acme/copy")), os.Symlink("../copy", file(set)))
		},
		"a directory": func() error { return errors.Join(os.Remove(file(set)), os.Mkdir(file(set), 0o755)) },
	}
	if os.Geteuid() == 0 { // others may not give files away
		damages["of another user"] = func() error { return os.Chown(file(set), 65534, -1) }
	}
	for name, damage := range damages {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if resp, _ := fetchFrom(t, url+set); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
		restore(set)
		if err := os.Chmod(file(set), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if resp, _ := fetchFrom(t, url+set); resp.StatusCode != http.StatusOK {
		t.Errorf("restored: %d", resp.StatusCode)
	}
	// A publisher that was ended after it had marked a newer state, as of a revocation.
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	newer, err := publish.LatestOrder(root, "acme")
	if err != nil {
		t.Fatal(err)
	}
	mark := file("/.keyward/acme")
	before, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	newer.Version++
	if err := os.WriteFile(mark, []byte(newer.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if resp, _ := fetchFrom(t, url+set); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a copy that is known to be old: %d", resp.StatusCode)
	}
	if err := os.WriteFile(mark, before, 0o600); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	server.Start()
	second.until(t, `msg=serving `)
	resp, text := fetchFrom(t, url+set)
	if resp.StatusCode != http.StatusOK || text != want[set] || resp.Header.Get("Keyward-Stale") != "" {
		t.Errorf("the service: %d %v", resp.StatusCode, resp.Header)
	}
	var health struct{ Status string }
	if _, text := fetchFrom(t, url+"/readyz/public"); json.Unmarshal([]byte(text), &health) != nil || health.Status != "ok" {
		t.Errorf("/readyz/public: %s", text)
	}
}

// A directory that others can write is no source of keys.
func TestAFallbackThatOthersCanWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	env := environ{
		"KEYWARD_DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "KEYWARD_MASTER_KEY": "file:" + filepath.Join(t.TempDir(), "master.json"),
		"KEYWARD_ADDR": "127.0.0.1:0", "KEYWARD_FALLBACK_DIR": dir,
	}
	keyward(t, env, "serve").want(t, exitFailed, "KEYWARD_FALLBACK_DIR", "others can write")
}
