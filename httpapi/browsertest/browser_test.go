package browsertest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// Requests of scripts, frames and workers count, each with its cause; the
// environment's proxy and its language do not.
func TestPagesAreWatched(t *testing.T) {
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "http://"+proxy.Addr().String())
	}
	t.Setenv("LANGUAGE", "de")
	found := 0
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		found++
		t.Run(name, func(t *testing.T) { watchPage(t, path) })
	}
	if found == 0 {
		t.Skip("Chromium is not installed")
	}
}

func watchPage(t *testing.T, path string) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			_, _ = w.Write([]byte(`<!doctype html><img src="http://image.example/x.png"><iframe src="http://frame.example/"></iframe><script>
				fetch("http://script.example/").catch(() => document.documentElement.dataset.script = navigator.language);
				new Worker("/worker.js").onmessage = (e) => document.documentElement.dataset.worker = e.data;
			</script>`))
		case "/worker.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte(`fetch("http://worker.example/").catch(() => postMessage("done"))`))
		}
	}))
	defer site.Close()
	p := Start(t, path).Open(site.URL + "/")
	p.WaitFor(`document.documentElement.dataset.script && document.documentElement.dataset.worker`)
	if got := p.Eval("document.documentElement.dataset.script"); got != "en-US" {
		t.Errorf("language %s", got)
	}
	var hosts []string
	for _, r := range p.Foreign() {
		hosts = append(hosts, r.URL)
	}
	all := strings.Join(hosts, " ")
	for _, host := range []string{"image.example", "frame.example", "script.example", "worker.example"} {
		if !strings.Contains(all, host) {
			t.Errorf("%s is not among %s", host, all)
		}
	}
	if len(hosts) != 4 {
		t.Errorf("requests of the page: %s", all)
	}
	own := Start(t, path).Open(site.URL + "/worker.js")
	if foreign := own.Foreign(); len(foreign) != 0 {
		t.Errorf("a page without references requested %v", foreign)
	}
}

// Tests share a Chromium, and neither cookies nor pages: those end with their test.
func TestBrowsersAreApart(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := r.Cookie("session")
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, "<!doctype html><p>%t</p>", err == nil)
	}))
	defer site.Close()
	t.Cleanup(Close)
	said := func(p *Page) string { return p.Eval(`document.querySelector("p").textContent`) }
	New(t)
	first := shared
	for range 2 {
		t.Run("context", func(t *testing.T) {
			b := New(t)
			if p := b.Open(site.URL); said(p) != "false" || said(b.Open(site.URL)) != "true" {
				t.Error("cookies of another test, or none of the same one")
			}
			if shared != first {
				t.Error("another Chromium was started")
			}
		})
	}
	if n := len(shared.conn.pages); n != 0 {
		t.Errorf("%d pages are left", n)
	}
	first.stop()
	if New(t).Open(site.URL); shared == first {
		t.Error("a Chromium that has ended is used again")
	}
}
