// Package browsertest opens pages in a headless Chromium for tests, and records
// the requests that each page makes. It is internal to Keyward: no compatibility
// promise.
//
// It speaks the DevTools protocol over a pair of pipes. What the browser requests
// for itself, such as updates, belongs to no page and is not recorded. No name is
// resolved but localhost, and no proxy is used, so that nothing leaves the machine.
package browsertest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// Browser is a running Chromium.
type Browser struct {
	t    testing.TB
	conn *conn
}

// New starts the installed Chromium and stops it when the test ends. It skips the
// test if none is installed.
func New(t testing.TB) *Browser {
	t.Helper()
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return Start(t, path)
		}
	}
	t.Skip("Chromium is not installed; on Debian: apt-get install chromium-headless-shell")
	return nil
}

// Start starts the Chromium at path and stops it when the test ends.
func Start(t testing.TB, path string) *Browser {
	t.Helper()
	profile := t.TempDir()
	cmd := exec.Command(path, append([]string{"--user-data-dir=" + profile}, flags...)...)
	cmd.Env = append(environment(), "LC_ALL=C.UTF-8", "TZ=UTC", "HOME="+profile, "XDG_CONFIG_HOME="+filepath.Join(profile, "config"))
	var stderr bytes.Buffer
	cmd.Stderr, cmd.WaitDelay = &stderr, time.Second
	requests, toBrowser := openPipe(t)
	fromBrowser, answers := openPipe(t)
	cmd.ExtraFiles = []*os.File{requests, answers} // descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	requests.Close()
	answers.Close()
	b := &Browser{t: t, conn: newConn(toBrowser, fromBrowser)}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = b.conn.call("", "Browser.close", nil, nil)
		toBrowser.Close()
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			t.Logf("%s:\n%s", path, stderr.String())
		}
	})
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

func openPipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}
