package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed templates/*.html static/*
var files embed.FS

// views are the templates and the files that their pages load.
type views struct {
	pages  map[string]*template.Template
	assets map[string]asset
}

type asset struct {
	body        []byte
	contentType string
	version     string
}

var assetTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

// mustViews returns the embedded views. It panics if they are faulty, which is a fault
// of the build.
func mustViews() views {
	v, err := newViews()
	if err != nil {
		panic(err)
	}
	return v
}

func newViews() (views, error) {
	v := views{pages: map[string]*template.Template{}, assets: map[string]asset{}}
	names, err := fs.Glob(files, "static/*")
	if err != nil {
		return v, err
	}
	for _, name := range names {
		body, err := files.ReadFile(name)
		if err != nil {
			return v, err
		}
		sum := sha256.Sum256(body)
		v.assets[path.Base(name)] = asset{body, assetTypes[path.Ext(name)], hex.EncodeToString(sum[:6])}
	}
	return v, v.parse()
}

// parse makes a template of each page, within the layout and with the parts that
// begin with an underscore.
func (v views) parse() error {
	funcs := template.FuncMap{"asset": v.assetURL}
	for name, f := range formatters {
		funcs[name] = f
	}
	shared, err := template.New("").Funcs(funcs).ParseFS(files, "templates/_*.html")
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	names, err := fs.Glob(files, "templates/[a-z]*.html")
	if err != nil {
		return err
	}
	for _, name := range names {
		t, err := shared.Clone()
		if err != nil {
			return fmt.Errorf("console: %w", err)
		}
		if _, err := t.ParseFS(files, name); err != nil {
			return fmt.Errorf("console: %w", err)
		}
		v.pages[path.Base(name)] = t
	}
	return nil
}

func (v views) assetURL(name string) string {
	return "/console/static/" + name + "?v=" + v.assets[name].version
}

// render answers with a page. It is made as a whole first, so that an error in the
// middle is an error and not half a page.
func (v views) render(w http.ResponseWriter, status int, name string, data any) {
	var body bytes.Buffer
	if err := v.pages[name].ExecuteTemplate(&body, name, data); err != nil {
		panic(fmt.Errorf("console: %w", err)) // a fault of ours: answered and logged as such
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the browser may have left
}

// serveAsset answers a file, which is cached for as long as its version is asked
// for.
func (v views) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, known := v.assets[r.PathValue("file")]
	if !known || strings.HasPrefix(r.PathValue("file"), ".") {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Etag", `"`+a.version+`"`)
	h.Set("Cache-Control", "no-cache")
	if r.FormValue("v") == a.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if r.Header.Get("If-None-Match") == `"`+a.version+`"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	_, _ = w.Write(a.body)
}
