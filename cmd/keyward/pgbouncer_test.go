package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Through a pooler in transaction mode, tenants are created, tokens signed and
// keys rotated concurrently, and changes reach another process over a
// connection of its own.
func TestBehindPgBouncer(t *testing.T) {
	env := deployed(t)
	env["KEYWARD_LISTEN_DATABASE_URL"] = env["KEYWARD_DATABASE_URL"]
	env["KEYWARD_DATABASE_URL"] = pgbouncer(t, env["KEYWARD_DATABASE_URL"])
	key := regexp.MustCompile(`kw_\w+`).FindString(ok(t, env, "api-key", "create", "--role=platform_admin", "--name=test"))
	here, there := launch(t, maps.Clone(env), "serve", "--log-format=text"), launch(t, maps.Clone(env), "serve", "--no-worker", "--log-format=text")
	serving := `msg=serving url=(\S+)`
	a, b := pooled{t, here.until(t, serving)[1], key}, pooled{t, there.until(t, serving)[1], key}
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for n := range 4 {
				a.lifeOf(fmt.Sprintf("t-%d-%d", c, n), b)
			}
		})
	}
	clients.Wait()
	keyward(t, env, "doctor").want(t, exitOK, "LISTEN/NOTIFY works")
	delete(env, "KEYWARD_LISTEN_DATABASE_URL") // the mistake of an operator
	keyward(t, env, "doctor").want(t, exitFailed, "the URL leads through a transaction pooler, which does not support LISTEN: set KEYWARD_LISTEN_DATABASE_URL")
	http.DefaultClient.CloseIdleConnections()
	for _, r := range []*running{here, there} {
		if code := r.stop(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
		for line := range r.log {
			if strings.Contains(line, "level=ERROR") {
				t.Error(line)
			}
		}
	}
}

// pooled is a process behind the pooler, with a credential.
type pooled struct {
	t        *testing.T
	url, key string
}

func (p pooled) ask(method, path, body string, want int) (answer struct{ Token, KID string }) {
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Error(err)
		return answer
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Error(err)
		return answer
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != want {
		p.t.Errorf("%s %s: %d, %s, %v", method, path, res.StatusCode, text, err)
	}
	_ = json.Unmarshal(text, &answer)
	return answer
}

// lifeOf creates a tenant, signs, rotates and revokes, and waits until another
// process no longer serves the revoked key.
func (p pooled) lifeOf(slug string, other pooled) {
	path := "/v1/tenants/" + slug
	p.ask("POST", "/v1/tenants", `{"slug":"`+slug+`"}`, http.StatusCreated)
	signed := p.ask("POST", path+"/tokens", `{"claims":{"sub":"a"}}`, http.StatusOK)
	if !other.serves(slug, signed.KID) {
		p.t.Errorf("%s: the other process does not serve the key that signs", slug)
	}
	p.ask("POST", path+"/keys/rotate", `{}`, http.StatusOK)
	again := other.ask("POST", path+"/tokens", `{"claims":{"sub":"b"}}`, http.StatusOK)
	p.ask("POST", path+"/keys/"+again.KID+"/revoke", `{"reason":"compromised"}`, http.StatusOK)
	for deadline := time.Now().Add(2 * time.Minute); other.serves(slug, again.KID); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Errorf("%s: the other process still serves the revoked key", slug)
			return
		}
	}
	p.ask("GET", path+"/audit/verify", "", http.StatusOK)
}

func (p pooled) serves(slug, kid string) bool {
	res, err := http.Get(p.url + "/t/" + slug + "/.well-known/jwks.json")
	if err != nil {
		p.t.Error(err)
		return false
	}
	defer res.Body.Close()
	set, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		p.t.Errorf("%s: %d %v", slug, res.StatusCode, err)
	}
	return strings.Contains(string(set), `"`+kid+`"`)
}

// pgbouncer starts a pooler for a database, in transaction mode and with fewer
// connections than clients, and returns its URL.
func pgbouncer(t *testing.T, dsn string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // Debian's path, often not in PATH
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("there is no pgbouncer on this machine; Debian's is in the package of that name")
	}
	to, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	port := unusedPort(t)
	dir, attr := pooledDir(t, to.Host)
	ini := filepath.Join(dir, "pgbouncer.ini")
	target := fmt.Sprintf("host=%s port=%d user=%s", to.Host, to.Port, to.User)
	if to.Password != "" {
		target += " password='" + strings.ReplaceAll(to.Password, "'", "''") + "'"
	}
	config := fmt.Sprintf(`[databases]
* = %s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
`, target, port)
	if err := os.WriteFile(ini, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, ini)
	cmd.SysProcAttr = attr
	cmd.Stderr = shown.Place("the log of pgbouncer of " + t.Name())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	url := fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", to.User, port, to.Database)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), url+"&default_query_exec_mode=simple_protocol")
		if err == nil {
			conn.Close(t.Context())
			return url
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// pooledDir returns a directory readable by the pooler, and the pooler's user:
// it refuses to run as root, so it gets the owner of PostgreSQL's socket.
func pooledDir(t *testing.T, host string) (string, *syscall.SysProcAttr) {
	dir, err := os.MkdirTemp("/tmp", "keyward-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Geteuid() != 0 {
		return dir, nil
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	owner := &syscall.Credential{Uid: 65534, Gid: 65534}
	if info, err := os.Stat(host); err == nil {
		st := info.Sys().(*syscall.Stat_t)
		owner = &syscall.Credential{Uid: st.Uid, Gid: st.Gid}
	}
	return dir, &syscall.SysProcAttr{Credential: owner}
}

func unusedPort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
