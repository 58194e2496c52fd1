package httpapi

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/keyward/keyward/httpapi/browsertest"
)

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

// The page shows every operation in a real browser, sends no request to another
// origin, and keeps to its policy; an API key that is entered there works.
func TestDocsInABrowser(t *testing.T) {
	b, w := browsertest.New(t), newWorld(t)
	w.tenant("acme")
	site := httptest.NewServer(watched(w, watching, `<script src="testdata/try.js" data-key="`+w.root+`"></script>`))
	t.Cleanup(site.Close)
	page := b.Open(site.URL + "/docs")
	page.WaitFor(`document.documentElement.dataset.tried === "done"`)
	dom := page.DOM()
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
	if foreign := page.Foreign(); foreign != nil {
		t.Errorf("the page sent requests to other origins: %v", foreign)
	}
}

// The test above would notice a page that does what it must not.
func TestDocsThatMisbehaveAreNoticed(t *testing.T) {
	b, w := browsertest.New(t), newWorld(t)
	site := httptest.NewServer(watched(w, watching+`<script>document.title = "inline"</script>`, `<img src="https://elsewhere.example/x.png">`))
	t.Cleanup(site.Close)
	page := b.Open(site.URL + "/docs")
	page.WaitFor(`(document.documentElement.dataset.wrong || "").includes("img-src")`)
	dom := page.DOM()
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
	if foreign := b.Open(open.URL).Foreign(); len(foreign) == 0 {
		t.Error("a request to another host was not noticed")
	}
}
