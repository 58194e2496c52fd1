package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/migrations"
)

// The commands of docs/upgrading.md work, in their order. Between them the program before,
// which is built from history, runs on the schema after: it must serve keys and sign.
func TestUpgradeAsDocumented(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	commit := previousCommit(t)
	program, dump := buildCommit(t, commit), postgresProgram(t, "pg_dump")
	env := environ{
		"KEYWARD_DATABASE_URL": dbtest.Empty(t), "KEYWARD_ADDR": freeAddress(t), "KEYWARD_MASTER_KEY": "file:" + filepath.Join(t.TempDir(), "master.json"),
		"PATH": strings.Join([]string{filepath.Dir(built(t)), filepath.Dir(dump), os.Getenv("PATH")}, string(os.PathListSeparator)),
	}
	p := previous{t: t, program: program, env: os.Environ()}
	for name, value := range env {
		p.env = append(p.env, name+"="+value)
	}
	p.run("migrate", "up")
	p.run("master", "init")
	key := regexp.MustCompile(`kw_\w+`).FindString(p.run("api-key", "create", "--role=platform_admin", "--name=previous"))
	url, stop := p.serve()
	run := commandRunner(t, env)
	page := strings.NewReplacer("postgres://keyward_backup@db/keyward?sslmode=verify-full", env["KEYWARD_DATABASE_URL"], "postgres://keyward_migrator@db/keyward?sslmode=verify-full", env["KEYWARD_DATABASE_URL"]).
		Replace(read(t, "../../docs/upgrading.md"))
	ran := runDocumentedBy(t, run, page, "upgrade")

	p.ask(http.MethodPost, url+"/v1/tenants", key, `{"slug":"previous"}`, http.StatusCreated)
	set := p.ask(http.MethodGet, url+"/t/previous/.well-known/jwks.json", "", "", http.StatusOK)
	token := p.ask(http.MethodPost, url+"/v1/tenants/previous/tokens", key, `{"claims":{"sub":"someone"}}`, http.StatusOK)
	if keys, _ := set["keys"].([]any); len(keys) != 2 || token["token"] == nil {
		t.Errorf("commit %s serves %v and signs %v, want an active and a standby key, and a token", commit, set, token)
	}

	stop()
	url = launch(t, env, "serve", "--log-format=text").until(t, `msg=serving url=(\S+)`)[1]
	if ran += runDocumentedBy(t, run, page, "upgraded"); ran != 5 {
		t.Errorf("%d commands were found", ran)
	}
	verified := p.ask(http.MethodPost, url+"/v1/tenants/previous/tokens/verify", key, `{"token":"`+token["token"].(string)+`"}`, http.StatusOK)
	if verified["valid"] != true {
		t.Errorf("a token of the program before: %v", verified)
	}
}

// previousCommit returns the last commit whose migrations are the first of
// these, so that its program may meet this schema: the one before these
// migrations came, else the one before this commit. Without one it skips t.
func previousCommit(t *testing.T) string {
	t.Helper()
	if out, err := exec.Command("git", "rev-parse", "--is-inside-work-tree").CombinedOutput(); err != nil {
		t.Skipf("no git history here: %v: %s", err, out)
	}
	changed := "HEAD"
	if clean := exec.Command("git", "diff", "--quiet", "HEAD", "--", "../../migrations/*.sql").Run() == nil; clean {
		changed = git(t, "log", "-1", "--format=%H", "--", "../../migrations/*.sql") + "^"
	}
	for _, commit := range []string{changed, "HEAD^"} {
		id, err := exec.Command("git", "rev-parse", "--verify", "--quiet", commit+"^{commit}").Output()
		if err != nil {
			continue // not in a shallow clone
		}
		commit = strings.TrimSpace(string(id))
		if err := startWith(t, commit); err != nil {
			t.Logf("commit %s cannot precede this schema: %v", commit, err)
			continue
		}
		return commit
	}
	t.Skip("no earlier commit has migrations that these begin with")
	return ""
}

// startWith returns an error unless every migration of a commit is one of
// these, unchanged.
func startWith(t *testing.T, commit string) error {
	t.Helper()
	names := strings.Fields(git(t, "ls-tree", "--full-tree", "--name-only", commit+":migrations"))
	if len(names) == 0 {
		return errors.New("it has no migrations")
	}
	for _, name := range names {
		if filepath.Ext(name) != ".sql" {
			continue
		}
		now, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			return err
		}
		then, err := exec.Command("git", "show", commit+":migrations/"+name).Output()
		if err != nil {
			return err
		}
		if !bytes.Equal(now, then) {
			return errors.New(name + " is another")
		}
	}
	return nil
}

func git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("git", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// buildCommit builds the program of a commit. With -trimpath the build cache
// serves it again although the directory is a new one.
func buildCommit(t *testing.T, commit string) string {
	t.Helper()
	source, program := t.TempDir(), filepath.Join(t.TempDir(), "keyward")
	archive := exec.Command("git", "-C", git(t, "rev-parse", "--show-toplevel"), "archive", "--format=tar", commit)
	extract := exec.Command("tar", "-x", "-C", source)
	pipe, err := archive.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	extract.Stdin = pipe
	if err := errors.Join(archive.Start(), extract.Run(), archive.Wait()); err != nil {
		t.Fatalf("extract commit %s: %v", commit, err)
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./cmd/keyward")
	build.Dir = source
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "PWD="+source)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build commit %s: %v\n%s", commit, err, out)
	}
	return program
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// previous is an earlier program in processes of its own.
type previous struct {
	t       *testing.T
	program string
	env     []string
}

func (p previous) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.program, args...)
	cmd.Env, cmd.Dir = p.env, p.t.TempDir()
	return cmd
}

func (p previous) run(args ...string) string {
	p.t.Helper()
	out, err := p.command(args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("keyward %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// serve returns the URL of a running server that has become ready. It ends with stop, or
// with the test.
func (p previous) serve() (url string, stop func()) {
	p.t.Helper()
	var log bytes.Buffer
	cmd := p.command("serve")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	stop = func() { _ = cmd.Process.Kill(); <-ended }
	p.t.Cleanup(stop)
	for _, v := range p.env {
		if address, ok := strings.CutPrefix(v, "KEYWARD_ADDR="); ok {
			url = "http://" + address
		}
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if resp, err := http.Get(url + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return url, stop
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			p.t.Fatalf("the server ended:\n%s", log.String())
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			<-ended
			p.t.Fatalf("/readyz is not 200 after a minute:\n%s", log.String())
		}
	}
}

// ask sends a request and returns the JSON object that answers it.
func (p previous) ask(method, url, key, body string, status int) map[string]any {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if req.Header.Set("Content-Type", "application/json"); key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	var answer map[string]any
	if err := errors.Join(err, json.Unmarshal(text, &answer)); err != nil || resp.StatusCode != status {
		p.t.Fatalf("%s %s: %s %s, %v; want %d", method, url, resp.Status, text, err, status)
	}
	return answer
}
