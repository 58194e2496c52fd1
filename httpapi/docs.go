package httpapi

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
)

// docsFiles are the files of /docs: our own page around a release of Swagger
// UI, whose source docs/swagger-ui/README.md states.
//
//go:embed docs/index.html docs/start.js docs/page.css docs/swagger-ui/*.gz
var docsFiles embed.FS

// docsPolicy restricts the page to requests to this origin and forbids inline
// scripts (CSP level 3, section 8.1). Swagger UI draws its icons as data:
// images.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// assetFiles maps the names under /docs/ to embedded files.
var assetFiles = map[string]string{
	"start.js":             "docs/start.js",
	"page.css":             "docs/page.css",
	"swagger-ui-bundle.js": "docs/swagger-ui/swagger-ui-bundle.js.gz",
	"swagger-ui.css":       "docs/swagger-ui/swagger-ui.css.gz",
}

var assetTypes = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}

// asset is a file that the page loads.
type asset struct {
	*static
	zipped  *static // the embedded gzip file; nil if the file is not compressed
	version string  // in the URL that the page uses
}

// docsAssets decompresses the assets once per process.
var docsAssets = sync.OnceValues(func() (map[string]*asset, error) {
	assets := map[string]*asset{}
	for name, file := range assetFiles {
		a, err := newAsset(name, file)
		if err != nil {
			return nil, fmt.Errorf("httpapi: %s: %w", file, err)
		}
		assets[name] = a
	}
	return assets, nil
})

func newAsset(name, file string) (*asset, error) {
	kept, err := docsFiles.ReadFile(file)
	if err != nil {
		return nil, err
	}
	contentType := assetTypes[path.Ext(name)]
	if path.Ext(file) != ".gz" {
		plain := newStatic(contentType, kept)
		return &asset{static: plain, version: strings.Trim(plain.etag, `"`)}, nil
	}
	open, err := gzip.NewReader(bytes.NewReader(kept))
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(open); err != nil {
		return nil, err
	}
	a := &asset{static: newStatic(contentType, body.Bytes()), zipped: newStatic(contentType, kept)}
	a.zipped.header["Content-Encoding"] = []string{"gzip"}
	a.version = strings.Trim(a.etag, `"`)
	return a, nil
}

// serve answers the file. A request for the current version may be cached
// forever (RFC 8246), since a new release of the page requests another version.
func (a *asset) serve(c echo.Context) error {
	form, h := a.static, c.Response().Header()
	if a.zipped != nil {
		h["Vary"] = []string{echo.HeaderAcceptEncoding}
		if acceptsGzip(c.Request().Header[echo.HeaderAcceptEncoding]) {
			form = a.zipped
		}
	}
	caching := form.header["Cache-Control"]
	if c.QueryParam("v") == a.version {
		caching = []string{"public, max-age=31536000, immutable"}
	}
	return form.serveFor(c, caching)
}

// newPage renders the page with the versions of its assets.
func newPage(title string) (*static, error) {
	assets, err := docsAssets()
	if err != nil {
		return nil, err
	}
	t, err := template.New("index.html").Funcs(template.FuncMap{"asset": func(name string) string {
		return "docs/" + name + "?v=" + assets[name].version
	}}).ParseFS(docsFiles, "docs/index.html")
	if err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]string{"Title": title}); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	page := newStatic("text/html; charset=utf-8", b.Bytes())
	page.header["Content-Security-Policy"] = []string{docsPolicy}
	page.header["Referrer-Policy"] = []string{"no-referrer"}
	return page, nil
}

// serveAsset answers an asset of the page.
func (s *publicServer) serveAsset(c echo.Context) error {
	assets, err := docsAssets()
	if err != nil {
		return err
	}
	if a := assets[c.Param("asset")]; a != nil {
		return a.serve(c)
	}
	return newProblem(ProblemCodeNotFound, "")
}

// GetDocsAsset is required by ServerInterface; directHandler bypasses it.
func (s *publicServer) GetDocsAsset(c echo.Context, _ GetDocsAssetParamsAsset, _ GetDocsAssetParams) error {
	return s.serveAsset(c)
}

// static is a document that does not change while the process lives.
type static struct {
	body   []byte
	header http.Header
	etag   string
}

func newStatic(contentType string, body []byte) *static {
	etag := entityTag(body)
	return &static{body: body, etag: etag, header: http.Header{
		"Content-Type":   {contentType},
		"Content-Length": {strconv.Itoa(len(body))},
		"Etag":           {etag},
		"Cache-Control":  {"no-cache"}, // always revalidate
	}}
}

func (d *static) serve(c echo.Context) error { return d.serveFor(c, d.header["Cache-Control"]) }

func (d *static) serveFor(c echo.Context, caching []string) error {
	h := c.Response().Header()
	setPublicHeaders(h)
	for name, value := range d.header {
		h[name] = value
	}
	h["Cache-Control"] = caching
	if matchesETag(c.Request().Header["If-None-Match"], d.etag) {
		return notModified(c)
	}
	return writeBody(c, d.body)
}

// GetOpenAPI answers the contract.
func (s *publicServer) GetOpenAPI(c echo.Context, _ GetOpenAPIParams) error {
	return s.document.serve(c)
}

// GetDocs answers a page to read it.
func (s *publicServer) GetDocs(c echo.Context, _ GetDocsParams) error { return s.servePage(c) }

func (s *publicServer) servePage(c echo.Context) error {
	page, err := s.page()
	if err != nil {
		return err
	}
	return page.serve(c)
}
