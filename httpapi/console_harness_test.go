package httpapi

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyward/keyward/httpapi/browsertest"
)

// surfer is a browser without scripts: it follows redirects and keeps cookies.
type surfer struct {
	w    *world
	http *http.Client
}

// shownPage is an answer to a surfer.
type shownPage struct {
	w      *world
	Status int
	Path   string // with its query
	Body   string
	Header http.Header
}

func (w *world) surfer() *surfer {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &surfer{w, &http.Client{Jar: jar}}
}

// signedIn is a surfer with a session of an API key.
func (w *world) signedIn(key string) *surfer {
	w.t.Helper()
	s := w.surfer()
	if p := s.post("/console/sign-in", "key", key); p.Status != http.StatusOK || strings.HasPrefix(p.Path, "/console/sign-in") {
		w.t.Fatalf("not signed in: %d %s\n%s", p.Status, p.Path, p.Body)
	}
	return s
}

func (s *surfer) get(path string) shownPage {
	s.w.t.Helper()
	r, err := http.NewRequestWithContext(s.w.t.Context(), http.MethodGet, s.w.url+path, nil)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return s.send(r)
}

// post sends a form: names and values in turn.
func (s *surfer) post(path string, fields ...string) shownPage {
	s.w.t.Helper()
	return s.postFrom("same-origin", path, fields...)
}

// postFrom sends a form as a page of a site does, in the words of Sec-Fetch-Site.
func (s *surfer) postFrom(site, path string, fields ...string) shownPage {
	s.w.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r, err := http.NewRequestWithContext(s.w.t.Context(), http.MethodPost, s.w.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", site)
	return s.send(r)
}

func (s *surfer) send(r *http.Request) shownPage {
	s.w.t.Helper()
	resp, err := s.http.Do(r)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return s.read(resp)
}

func (s *surfer) read(resp *http.Response) shownPage {
	s.w.t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return shownPage{s.w, resp.StatusCode, resp.Request.URL.RequestURI(), string(body), resp.Header}
}

// has demands texts on the page.
func (p shownPage) has(texts ...string) shownPage {
	p.w.t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.Body, text) {
			p.w.t.Errorf("%s (%d) has no %q:\n%s", p.Path, p.Status, text, p.Body)
		}
	}
	return p
}

// lacks demands that texts are not on the page.
func (p shownPage) lacks(texts ...string) shownPage {
	p.w.t.Helper()
	for _, text := range texts {
		if strings.Contains(p.Body, text) {
			p.w.t.Errorf("%s has %q", p.Path, text)
		}
	}
	return p
}

// is demands a status.
func (p shownPage) is(status int) shownPage {
	p.w.t.Helper()
	if p.Status != status {
		p.w.t.Errorf("%s: %d, want %d:\n%s", p.Path, p.Status, status, p.Body)
	}
	return p
}

// hidden returns the hidden fields of the form for an address, as names and
// values in turn.
func (p shownPage) hidden(action string) (fields []string) {
	p.w.t.Helper()
	_, form, found := strings.Cut(p.Body, `action="`+action+`"`)
	if !found {
		p.w.t.Fatalf("%s has no form for %s:\n%s", p.Path, action, p.Body)
	}
	form, _, _ = strings.Cut(form, "</form>")
	for _, m := range hiddenField.FindAllStringSubmatch(form, -1) {
		fields = append(fields, m[1], strings.ReplaceAll(m[2], "&#43;", "+"))
	}
	return fields
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// browse opens the console in a browser and signs in.
func (w *world) browse(b *browsertest.Browser, key string) *browsertest.Page {
	w.t.Helper()
	p := b.Open(w.url + "/console")
	if p.Eval(`document.querySelector("#key") === null`) == "true" { // pages of one test share their cookies
		return p
	}
	p.Fill("#key", key)
	p.Click("form button.btn")
	return p
}

// shoot keeps a screenshot where KEYWARD_SCREENSHOTS says, if it says so.
func shoot(t testing.TB, p *browsertest.Page, name string) {
	t.Helper()
	dir := os.Getenv("KEYWARD_SCREENSHOTS")
	if dir == "" {
		return
	}
	p.WaitFor(`!document.querySelector(".live") || !document.querySelector("[data-live]") || document.querySelector(".live").hasAttribute("data-on")`)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), p.Screenshot(), 0o644); err != nil {
		t.Fatal(err)
	}
}
