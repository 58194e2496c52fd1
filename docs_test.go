package keyward_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	mdFence   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinksOfTheDocumentation follows every relative link of every page, to
// the file and to the heading.
func TestLinksOfTheDocumentation(t *testing.T) {
	links := 0
	for _, page := range files(t, ".md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range mdLink.FindAllSubmatch(mdFence.ReplaceAll(text, nil), -1) {
			link := string(match[1])
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			links++
			file, heading, _ := strings.Cut(link, "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), filepath.FromSlash(file))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link to %s, which does not exist", page, link)
			} else if heading != "" && !headings(t, target)[heading] {
				t.Errorf("%s: link to %s, which has no such heading", page, link)
			}
		}
	}
	if links < 60 {
		t.Errorf("only %d links were found", links)
	}
}

// TestDocumentationCitesWhatExists looks every test, benchmark, fuzz target and setting that
// a page cites up in the sources.
func TestDocumentationCitesWhatExists(t *testing.T) {
	cited := regexp.MustCompile(`\b((?:Test|Benchmark|Fuzz)[A-Z]\w+|KEYWARD_[A-Z0-9_]+[A-Z0-9])\b`)
	known := map[string]bool{}
	for _, path := range files(t, ".go", ".mjs", ".yml", "Makefile") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range cited.FindAllString(string(text), -1) {
			known[name] = true
		}
	}
	names := 0
	for _, page := range files(t, ".md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range cited.FindAllString(string(text), -1) {
			if names++; !known[name] {
				t.Errorf("%s cites %s, which does not exist", page, name)
			}
		}
	}
	if names < 100 {
		t.Errorf("only %d names were found", names)
	}
}

// TestContractNamesWhatTheAPIHas compares docs/contract.md with the values of
// the enumerations in openapi.yaml.
func TestContractNamesWhatTheAPIHas(t *testing.T) {
	document, err := openapi3.NewLoader().LoadFromFile("httpapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	named := namedIn(string(page))
	for _, schema := range []string{"ProblemCode", "VerifyCode", "KeyState", "RevocationReason", "Role", "Alg", "AuditAction"} {
		found := document.Components.Schemas[schema]
		if found == nil || len(found.Value.Enum) == 0 {
			t.Errorf("openapi.yaml has no enumeration %s", schema)
			continue
		}
		for _, value := range found.Value.Enum {
			if !named[value.(string)] {
				t.Errorf("docs/contract.md does not name %s of %s", value, schema)
			}
		}
	}
}

// namedIn lists the words in backquotes of a page. `key.created|revoked` stands
// for two words.
func namedIn(page string) map[string]bool {
	words := map[string]bool{}
	for _, quoted := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(page, -1) {
		thing, _, _ := strings.Cut(quoted[1], ".")
		for i, word := range strings.Split(quoted[1], "|") {
			if i > 0 {
				word = thing + "." + word
			}
			words[word] = true
		}
	}
	for _, word := range regexp.MustCompile(`[a-z_]+`).FindAllString(page, -1) {
		words[word] = true // roles are plain words in tables
	}
	return words
}

// headings lists the anchors of a page's headings, as forges make them.
func headings(t *testing.T, page string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, match := range mdHeading.FindAllSubmatch(mdFence.ReplaceAll(text, nil), -1) {
		slug := notInSlug.ReplaceAllString(strings.ToLower(string(match[1])), "")
		anchors[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return anchors
}

// files lists the files of the repository whose names end in one of the
// endings.
func files(t *testing.T, endings ...string) (all []string) {
	t.Helper()
	skipped := []string{"node_modules", "testdata", ".git", ".keyward"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skipped, d.Name()):
			return filepath.SkipDir
		case slices.ContainsFunc(endings, func(ending string) bool { return strings.HasSuffix(path, ending) }):
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDatabaseURLsAskForTLS checks that every URL of a database on another machine, in
// the pages and in the files to deploy, verifies the server. Compose's own network is on
// one machine.
func TestDatabaseURLsAskForTLS(t *testing.T) {
	address := regexp.MustCompile(`postgres(?:ql)?://[^\s'"` + "`" + `<>)]+`)
	found := 0
	for _, page := range slices.Concat(files(t, ".md"), files(t, ".yaml"), files(t, ".yml"), files(t, ".env"), files(t, ".service")) {
		if filepath.Base(page) == "docker-compose.yml" || strings.Contains(page, ".github") {
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found1 := range address.FindAllString(string(text), -1) {
			u, err := url.Parse(found1)
			if err != nil || slices.Contains([]string{"", "localhost", "127.0.0.1", "…"}, u.Hostname()) || strings.Contains(found1, "…") {
				continue
			}
			found++
			if u.Query().Get("sslmode") != "verify-full" {
				t.Errorf("%s: %s does not verify the server", page, found1)
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d URLs were found", found)
	}
}

// TestDocumentationIndex checks that docs/README.md links every page of docs exactly
// once. The README links the index.
func TestDocumentationIndex(t *testing.T) {
	index, err := os.ReadFile("docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]int{}
	for _, match := range mdLink.FindAllStringSubmatch(string(index), -1) {
		linked[filepath.Join("docs", filepath.FromSlash(match[1]))]++
	}
	pages := 0
	for _, page := range files(t, ".md") {
		inDocs, _ := filepath.Match(filepath.FromSlash("docs/*.md"), page)
		if page == filepath.FromSlash("docs/README.md") || !inDocs {
			continue
		}
		if pages++; linked[page] != 1 {
			t.Errorf("docs/README.md links %s %d times, not once", page, linked[page])
		}
	}
	if pages < 30 {
		t.Errorf("only %d pages were found", pages)
	}
	if readme, err := os.ReadFile("README.md"); err != nil || !strings.Contains(string(readme), "](docs/README.md)") {
		t.Errorf("README.md does not link docs/README.md: %v", err)
	}
}

// TestVersionsAgree checks that what is released together has the version of the newest
// entry in CHANGELOG.md.
func TestVersionsAgree(t *testing.T) {
	find := func(path, pattern string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		match := regexp.MustCompile(pattern).FindStringSubmatch(string(text))
		if match == nil {
			t.Fatalf("%s has no version", path)
		}
		return match[1]
	}
	newest := find("CHANGELOG.md", `(?m)^## \[(\d+\.\d+\.\d+)\] - (?:unreleased|\d{4}-\d{2}-\d{2})$`)
	for path, pattern := range map[string]string{
		"deploy/helm/keyward/Chart.yaml": `(?m)^version: (\S+)$`,
		"clients/node/package.json":      `(?m)^  "version": "([^"]+)"`,
		"httpapi/openapi.yaml":           `(?m)^  version: (\S+)$`,
	} {
		if version := find(path, pattern); version != newest {
			t.Errorf("%s has version %s, CHANGELOG.md %s", path, version, newest)
		}
	}
	// Importers ignore replace, so what the sub-modules require must be the version that is
	// tagged with them.
	for _, module := range []string{"jwks/echojwks", "jwks/grpcjwks"} {
		if version := find(module+"/go.mod", `(?m)^\s*(?:require )?github\.com/keyward/keyward v(\S+)$`); version != newest {
			t.Errorf("%s requires version %s, CHANGELOG.md has %s", module, version, newest)
		}
	}
	if version := find("deploy/helm/keyward/Chart.yaml", `(?m)^appVersion: "([^"]+)"$`); version != newest {
		t.Errorf("Chart.yaml has appVersion %s, CHANGELOG.md %s", version, newest)
	}
}
