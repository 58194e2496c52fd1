package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a Chromium that draws nothing.
type browser struct {
	path  string
	proxy string // takes every request to another host

	mu   sync.Mutex
	left []string // those requests
}

// newBrowser skips the test where there is none.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	b := &browser{}
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if b.path, _ = exec.LookPath(name); b.path != "" {
			break
		}
	}
	if b.path == "" {
		t.Skip("no Chromium is installed, so that /docs is not read in one; on Debian: apt-get install chromium-headless-shell")
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.left = append(b.left, r.Method+" "+r.Host)
		http.Error(w, "nothing leaves", http.StatusBadGateway)
	}))
	t.Cleanup(proxy.Close)
	b.proxy = proxy.URL
	return b
}

// read is what a page has become once its scripts have nothing left to do.
func (b *browser) read(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // for a browser that hangs
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--user-data-dir="+t.TempDir(),
		"--proxy-server="+b.proxy, "--virtual-time-budget=60000", "--dump-dom", url)
	cmd.WaitDelay = time.Second
	var said strings.Builder
	cmd.Stderr = &said
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", b.path, err, said.String())
	}
	return string(dom)
}

// watched serves the docs with scripts of the test in them, under the same policy.
func watched(w *world, before, after string) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if script, is := strings.CutPrefix(r.URL.Path, "/testdata/"); is {
			http.ServeFile(out, r, "testdata/"+script)
			return
		}
		if r.URL.Path != "/docs" {
			w.server.ServeHTTP(out, r)
			return
		}
		rec := httptest.NewRecorder()
		w.server.ServeHTTP(rec, r)
		for name, value := range rec.Header() {
			if name != "Content-Length" {
				out.Header()[name] = value
			}
		}
		page := strings.Replace(rec.Body.String(), "<head>", "<head>"+before, 1)
		_, _ = out.Write([]byte(strings.Replace(page, "</body>", after+"</body>", 1)))
	})
}

const watching = `<script src="testdata/watch.js"></script>`

var wrong = regexp.MustCompile(`<html[^>]* data-wrong="([^"]*)"`)

// The page shows every operation in a real browser, asks nothing of anybody else,
// and keeps to its policy; an API key that is entered there works.
func TestDocsInABrowser(t *testing.T) {
	b, w := newBrowser(t), newWorld(t)
	w.tenant("acme")
	site := httptest.NewServer(watched(w, watching, `<script src="testdata/try.js" data-key="`+w.root+`"></script>`))
	t.Cleanup(site.Close)
	dom := b.read(t, site.URL+"/docs")
	if said := wrong.FindStringSubmatch(dom); said != nil {
		t.Errorf("the page: %s", said[1])
	}
	for _, operation := range operationNames(w.contract.doc) {
		if !regexp.MustCompile(`id="operations-[a-z]+-` + operation + `"`).MatchString(dom) {
			t.Errorf("%s is not on the page", operation)
		}
	}
	if !strings.Contains(dom, `data-tried="done"`) || !regexp.MustCompile(`response-col_status">200`).MatchString(dom) || !strings.Contains(dom, "acme") {
		t.Error("listing tenants did not work from the page")
	}
	if b.left != nil {
		t.Errorf("the page asked others: %s", b.left)
	}
}

// The test above would notice a page that does what it must not.
func TestDocsThatMisbehaveAreNoticed(t *testing.T) {
	b, w := newBrowser(t), newWorld(t)
	site := httptest.NewServer(watched(w, watching+`<script>document.title = "inline"</script>`, `<img src="https://elsewhere.example/x.png">`))
	t.Cleanup(site.Close)
	dom := b.read(t, site.URL+"/docs")
	said := wrong.FindStringSubmatch(dom)
	if said == nil || !strings.Contains(said[1], "script-src-elem forbids inline") || !strings.Contains(said[1], "img-src forbids https://elsewhere.example") {
		t.Errorf("noticed: %s", said)
	}
	if strings.Contains(dom, "<title>inline") {
		t.Error("an inline script has run")
	}
	open := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		_, _ = out.Write([]byte(`<!doctype html><img src="http://elsewhere.example/x.png">`))
	}))
	t.Cleanup(open.Close)
	if b.read(t, open.URL); len(b.left) == 0 {
		t.Error("a request to another host was not noticed")
	}
}
