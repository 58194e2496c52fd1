package httpapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"strings"
	"testing"
)

// The page loads what is served here, by the version it has.
func TestDocsLoadTheirAssets(t *testing.T) {
	w := newWorld(t)
	docs := w.do("GET", "/docs", "", "").ok(200)
	if docs.Header.Get("Content-Security-Policy") != docsPolicy || regexp.MustCompile(`(?i)<style|<script>|\son[a-z]+=|style=|https?:`).Match(docs.body) {
		t.Errorf("%v\n%s", docs.Header, docs.body)
	}
	loads := regexp.MustCompile(`(?:src|href)="(docs/[^"]+)"`).FindAllSubmatch(docs.body, -1)
	if len(loads) != len(assetFiles) {
		t.Errorf("%d of %d: %s", len(loads), len(assetFiles), docs.body)
	}
	for _, load := range loads {
		a := w.do("GET", "/"+string(load[1]), "", "", "Accept-Encoding", "identity").ok(200)
		if !strings.Contains(a.Header.Get("Cache-Control"), "immutable") || a.Header.Get("X-Content-Type-Options") != "nosniff" || len(a.body) == 0 {
			t.Errorf("%s: %v", load[1], a.Header)
		}
		bare, _, _ := strings.Cut(string(load[1]), "?")
		for _, old := range []string{bare, bare + "?v=old"} {
			if a := w.do("GET", "/"+old, "", "").ok(200); a.Header.Get("Cache-Control") != "no-cache" {
				t.Errorf("%s: %v", old, a.Header)
			}
		}
	}
	w.do("GET", "/docs/swagger-ui-bundle.js.gz", "", "").problem(ProblemCodeNotFound)
	w.do("GET", "/docs/README.md", "", "").problem(ProblemCodeNotFound)
}

// Who accepts gzip gets the file as it is kept; everybody else gets the same, opened.
func TestDocsAssetsAreCompressed(t *testing.T) {
	w := newWorld(t)
	const path = "/docs/swagger-ui-bundle.js"
	for accept, zipped := range map[string]bool{
		"gzip": true, "br, GZIP;q=0.5": true, "*": true, "": false, "identity": false, "gzip;q=0, *": false, "br": false,
	} {
		a := w.do("GET", path, "", "", "Accept-Encoding", accept).ok(200)
		if got := a.Header.Get("Content-Encoding") == "gzip"; got != zipped || a.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", accept, a.Header)
		}
		w.do("GET", path, "", "", "Accept-Encoding", accept, "If-None-Match", a.Header.Get("ETag")).ok(304)
	}
	plain := w.do("GET", path, "", "", "Accept-Encoding", "identity").ok(200)
	zipped := w.do("GET", path, "", "", "Accept-Encoding", "gzip").ok(200)
	open, err := gzip.NewReader(bytes.NewReader(zipped.body))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(open); err != nil || !bytes.Equal(body, plain.body) {
		t.Errorf("%v: %d bytes and %d", err, len(body), len(plain.body))
	}
	if plain.Header.Get("ETag") == zipped.Header.Get("ETag") {
		t.Error("two forms with one strong tag") // RFC 9110 section 8.8.3.3
	}
}

// What is vendored is what the README says, with its licences.
func TestDocsViewerIsVendored(t *testing.T) {
	for _, name := range []string{"LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"} {
		if text := readFile(t, "docs/swagger-ui/"+name); len(text) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	version := regexp.MustCompile(`(?m)^\| version \| (\d+\.\d+\.\d+) \|$`).FindStringSubmatch(readFile(t, "docs/swagger-ui/README.md"))
	assets, err := docsAssets()
	if err != nil || version == nil {
		t.Fatal(err, version)
	}
	if !bytes.Contains(assets["swagger-ui-bundle.js"].body, []byte(`"`+version[1]+`"`)) {
		t.Errorf("the bundle does not say that it is %s", version[1])
	}
	if assets["page.css"].zipped != nil || assets["swagger-ui.css"].header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("%v", assets["swagger-ui.css"].header)
	}
}
