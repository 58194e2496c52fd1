// Package browsertest opens pages in a headless Chromium for tests, and records
// the requests that each page makes. It is internal to Keyward: no compatibility
// promise.
//
// It speaks the DevTools protocol over a pair of pipes. What the browser requests
// for itself, such as updates, belongs to no page and is not recorded. No name is
// resolved but localhost, and no proxy is used, so that nothing leaves the machine.
package browsertest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs are the names that Chromium is installed under, the smallest first.
var programs = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"}

// flags make the browser the same everywhere: no window, no traffic of its own, no
// proxy and no language from the environment.
var flags = []string{
	"--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-US",
	"--proxy-server=direct://", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
	"--no-first-run", "--no-default-browser-check", "--no-pings", "--metrics-recording-only", "--disable-background-networking",
	"--disable-breakpad", "--disable-client-side-phishing-detection", "--disable-component-update", "--disable-default-apps",
	"--disable-domain-reliability", "--disable-extensions", "--disable-sync",
	"--disable-features=AutofillServerCommunication,CertificateTransparencyComponentUpdater,MediaRouter,OptimizationHints,Translate",
}

// patience is how long a test waits for the browser before it fails.
const patience = 2 * time.Minute

// Browser is a browser context: it has cookies, storage and a cache of its own.
type Browser struct {
	t       testing.TB
	conn    *conn
	context string
}

// process is a running Chromium.
type process struct {
	path    string
	cmd     *exec.Cmd
	conn    *conn
	profile string
	pipe    io.Closer // its end ends the Chromium
	exited  chan struct{}
	stderr  output
}

// output keeps what a process writes.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	return len(p), nil
}

// from returns what was written from an offset on, and the offset of its end.
func (o *output) from(offset int) (text string, end int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text[offset:]), len(o.text)
}

// shared is the Chromium of New. Starting one takes longer than most tests.
var (
	sharedMu sync.Mutex
	shared   *process
)

// New returns a new context of the installed Chromium, which all tests of a program
// share, and closes its pages when the test ends. It skips the test if none is
// installed. TestMain must call Close.
func New(t testing.TB) *Browser {
	t.Helper()
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			sharedMu.Lock()
			defer sharedMu.Unlock()
			if shared == nil || !shared.alive() {
				shared.stop()
				if shared, err = start(path); err != nil {
					t.Fatal(err)
				}
			}
			return shared.open(t)
		}
	}
	t.Skip("Chromium is not installed; on Debian: apt-get install chromium-headless-shell")
	return nil
}

// Close stops the Chromium of New, if one runs.
func Close() {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	shared.stop()
	shared = nil
}

// Start starts the Chromium at path and stops it when the test ends.
func Start(t testing.TB, path string) *Browser {
	t.Helper()
	p, err := start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p.open(t)
}

func start(path string) (started *process, err error) {
	profile, err := os.MkdirTemp("", "browsertest")
	if err != nil {
		return nil, err
	}
	defer func() {
		if started == nil {
			_ = os.RemoveAll(profile)
		}
	}()
	p := &process{path: path, profile: profile, exited: make(chan struct{})}
	p.cmd = exec.Command(path, append([]string{"--user-data-dir=" + profile}, flags...)...)
	p.cmd.Env = append(environment(), "LC_ALL=C.UTF-8", "TZ=UTC", "HOME="+profile, "XDG_CONFIG_HOME="+filepath.Join(profile, "config"))
	p.cmd.Stderr, p.cmd.WaitDelay = &p.stderr, time.Second
	requests, toBrowser, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer requests.Close()
	fromBrowser, answers, err := os.Pipe()
	if err != nil {
		toBrowser.Close()
		return nil, err
	}
	defer answers.Close()
	p.cmd.ExtraFiles = []*os.File{requests, answers} // descriptors 3 and 4
	if err := p.cmd.Start(); err != nil {
		toBrowser.Close()
		fromBrowser.Close()
		return nil, err
	}
	p.conn, p.pipe = newConn(toBrowser, fromBrowser), toBrowser
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	return p, nil
}

// alive reports whether the process still answers.
func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	case <-p.conn.closed:
		return false
	default:
		return true
	}
}

// stop ends the process, if there is one, and removes its profile.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.conn.call("", "Browser.close", nil, nil)
	p.pipe.Close()
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	_ = os.RemoveAll(p.profile)
}

// open makes a context, which ends with the test.
func (p *process) open(t testing.TB) *Browser {
	t.Helper()
	b := &Browser{t: t, conn: p.conn}
	_, before := p.stderr.from(0)
	t.Cleanup(func() {
		_ = p.conn.call("", "Target.disposeBrowserContext", map[string]any{"browserContextId": b.context}, nil)
		p.conn.forget(b)
		if t.Failed() {
			text, _ := p.stderr.from(before)
			t.Logf("%s:\n%s", p.path, text)
		}
	})
	var made struct {
		ID string `json:"browserContextId"`
	}
	b.call("", "Target.createBrowserContext", nil, &made)
	b.context = made.ID
	return b
}

// environment is that of the test without proxies, which the headless shell would
// use whatever its flags are, and without a preferred language.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(strings.ToLower(variable), "=")
		return strings.HasSuffix(name, "_proxy") || name == "language" || name == "lang"
	})
}
