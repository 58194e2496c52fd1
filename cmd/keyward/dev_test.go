package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/db/embedded"
	"github.com/keyward/keyward/keys/keystest"
)

// patience is the timeout for expected events on a slow machine.
const patience = time.Minute

// dataDir returns a directory that any user can reach and that does not exist
// yet. It also removes the files that keyward keeps elsewhere for root.
func dataDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("/tmp", "keyward-dev-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	if err := os.Chmod(parent, 0o777); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(parent, "it's data")
}

// instance is a running keyward dev.
type instance struct {
	url      string
	commands []string // printed curl commands
	stop     func() error
	kill     func()
	wait     func() error
}

// start runs the built program, as another user if cred is not nil.
func start(t *testing.T, dir string, cred *syscall.Credential) *instance {
	t.Helper()
	cmd := exec.Command(built(t), "dev", "--addr=127.0.0.1:0", "--data-dir="+dir)
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH"), "KEYWARD_PG_BIN=" + os.Getenv("KEYWARD_PG_BIN")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	cmd.Stderr = new(strings.Builder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wait := sync.OnceValue(cmd.Wait)
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = wait() })
	i := &instance{
		stop: func() error { _ = cmd.Process.Signal(os.Interrupt); return wait() },
		kill: func() { _ = cmd.Process.Kill(); _ = wait() },
		wait: wait,
	}
	if err := i.read(io.TeeReader(out, shown.Place("the output of the program in "+t.Name()))); err != nil {
		_ = cmd.Process.Kill()
		_ = wait()
		t.Fatalf("keyward dev: %v\n%s", err, cmd.Stderr)
	}
	return i
}

// read parses the first output.
func (i *instance) read(out io.Reader) error {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "Keyward is at "):
			i.url = strings.Fields(line)[3]
		case strings.HasPrefix(line, "  curl "):
			i.commands = append(i.commands, line)
		case strings.HasPrefix(line, "Ctrl-C"):
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return nil
		}
	}
	return errors.New("ended before it said how to use it")
}

// built returns the path of the program, built once.
func built(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildDir string

var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "keyward-build-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "keyward")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-X main.version=v0-test", "-o", path, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// shown collects all output of the program in the tests of this package: its
// output, log, responses and databases.
var shown = keystest.New()

// TestMain fails if a private key occurs in the output of any test.
func TestMain(m *testing.M) {
	isolate()
	shown.Tee()
	http.DefaultTransport = shown.Transport(http.DefaultTransport)
	code := m.Run()
	os.RemoveAll(buildDir)
	if testing.Verbose() {
		learnt, bytes := shown.Seen()
		fmt.Printf("%d private keys were looked for in %d bytes\n", learnt, bytes)
	}
	os.Exit(shown.End(code))
}

// isolate removes the developer's own settings from the environment: those of a
// Keyward or PostgreSQL in use, and proxies, which curl would use for 127.0.0.1.
func isolate() {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		kept := strings.HasPrefix(name, "KEYWARD_TEST") || name == "KEYWARD_PG_BIN"
		if strings.HasPrefix(name, "KEYWARD_") && !kept || strings.HasPrefix(name, "PG") && os.Getenv("KEYWARD_TEST_DATABASE_URL") == "" {
			os.Unsetenv(name)
		}
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		os.Setenv(name, "127.0.0.1,localhost,::1")
	}
}

// needPostgres skips a test on a machine that cannot run it; in CI it fails.
func needPostgres(t *testing.T) {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(dataDir(t), "probe")})
	if errors.Is(err, embedded.ErrNoBinaries) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Destroy(context.Background())
}

func (i *instance) wantReady(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("/readyz: %s %s", resp.Status, body)
	}
}

// paste runs a printed command in a shell.
func paste(t *testing.T, command string) []byte {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here to paste the commands for")
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	_, _ = shown.Place("the commands of " + t.Name()).Write(append(out, '\n'))
	return out
}

// tryTour runs the printed commands and verifies the token with the fetched
// JWKS.
func (i *instance) tryTour(t *testing.T) {
	t.Helper()
	if len(i.commands) != 3 {
		t.Fatalf("%d commands to paste, want 3", len(i.commands))
	}
	created, signed, fetched := paste(t, i.commands[0]), paste(t, i.commands[1]), paste(t, i.commands[2])
	var token struct{ Token string }
	if err := json.Unmarshal(signed, &token); err != nil || token.Token == "" {
		t.Fatalf("created %s\nsigned %s", created, signed)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(fetched, &set); err != nil {
		t.Fatalf("%v in %s", err, fetched)
	}
	jws, err := jose.ParseSignedCompact(token.Token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jws.Verify(&set); err != nil {
		t.Errorf("the token does not verify with the JWKS: %v", err)
	}
}

func TestDev(t *testing.T) {
	needPostgres(t)
	dir := dataDir(t)
	i := start(t, dir, nil)
	i.wantReady(t)
	t.Run("second", func(t *testing.T) {
		keyward(t, nil, "dev", "--addr=127.0.0.1:0", "--data-dir="+dir).want(t, exitFailed, "in use", "--data-dir")
	})
	t.Run("tour", i.tryTour)
	key := adminKey(t, dir)
	if err := i.stop(); err != nil {
		t.Fatalf("after Ctrl-C: %v", err)
	}
	i = start(t, dir, nil)
	i.wantReady(t)
	t.Run("tour again", i.tryTour)
	i.kill()
	i = start(t, dir, nil)
	i.wantReady(t)
	t.Run("tour after SIGKILL", i.tryTour)
	if again := adminKey(t, dir); again != key {
		t.Error("the admin key has changed")
	}
	if err := i.stop(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

// JWKS are served while PostgreSQL is down, and PostgreSQL is restarted.
func TestDevWhenPostgresDies(t *testing.T) {
	needPostgres(t)
	dir := dataDir(t)
	i := start(t, dir, nil)
	i.wantReady(t)
	jwks := i.url + "/t/" + demoSlug + "/.well-known/jwks.json"
	i.wantStatus(t, jwks, http.StatusOK)
	text, err := os.ReadFile(filepath.Join(dir, clusterDir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	i.wantStatus(t, i.url+"/readyz", http.StatusServiceUnavailable)
	i.wantStatus(t, jwks, http.StatusOK)
	i.wantStatus(t, i.url+"/readyz", http.StatusOK)
	i.tryTour(t)
	if err := i.stop(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

// wantStatus repeats a request until it is answered with the status.
func (i *instance) wantStatus(t *testing.T, url string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for got := 0; got != status; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v, after %d, want %d", url, err, got, status)
		}
		resp.Body.Close()
		got = resp.StatusCode
		time.Sleep(10 * time.Millisecond) // polls; no signal tells when
	}
}

func adminKey(t *testing.T, dir string) string {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, adminKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", adminKeyFile, info.Mode())
	}
	key, err := readKey(filepath.Join(dir, adminKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestDevAsANormalUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("every other test does that here")
	}
	needPostgres(t)
	dir := dataDir(t)
	i := start(t, dir, &syscall.Credential{Uid: 65534, Gid: 65534}) // the user nobody
	i.wantReady(t)
	i.tryTour(t)
	if err := i.stop(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}
