package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
)

// verifiersPage is the page that a run writes, see make verifiers.
const verifiersPage = "../docs/verifiers.md"

// compareVerifiers demands that the page says what the run has shown, by other
// versions than the minor ones. With KEYWARD_DRAW=1 it writes the page. Readers that
// did not run keep what the page says of them.
func compareVerifiers(t *testing.T, seen []observation) {
	t.Helper()
	old, err := os.ReadFile(verifiersPage)
	if err != nil && os.Getenv("KEYWARD_DRAW") == "" {
		t.Fatal(err)
	}
	page := drawVerifiers(t, string(old), seen)
	if os.Getenv("KEYWARD_DRAW") != "" {
		if t.Failed() {
			t.Fatal("the page is not drawn: something failed")
		}
		if err := os.WriteFile(verifiersPage, page, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	before, after := strings.Split(string(old), "\n"), strings.Split(string(page), "\n")
	for i := range max(len(before), len(after)) {
		if i >= len(before) || i >= len(after) || majorVersions(before[i]) != majorVersions(after[i]) {
			t.Fatalf("docs/verifiers.md is not what this run shows: run make verifiers\nline %d: %s\nthis run: %s", i+1, lineAt(before, i), lineAt(after, i))
		}
		if before[i] != after[i] {
			t.Logf("docs/verifiers.md names another minor version\nline %d: %s\nthis run: %s", i+1, before[i], after[i])
		}
	}
}

func lineAt(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(the end)"
}

// versionCell is the second cell of a row.
var versionCell = regexp.MustCompile(`^(\| [^|]+ \| )(\d+)[^|]*(?: (\d+)\.[^|]*)? \|`)

// majorVersions leaves of a row's versions what a minor release does not change. A
// release 0.x may change anything, but its readers are distributions' old ones.
func majorVersions(line string) string { return versionCell.ReplaceAllString(line, "$1$2 $3 |") }

// drawVerifiers fills the page in.
func drawVerifiers(t *testing.T, old string, seen []observation) []byte {
	t.Helper()
	var page bytes.Buffer
	data := struct {
		Rows     []string
		Examples []*reader
		Keys     int
	}{Keys: mostKeys - 1}
	for _, r := range foreignReaders {
		row := oldRow(old, r.name)
		if i := slices.IndexFunc(seen, func(o observation) bool { return o.reader == r }); i >= 0 {
			row = seen[i].row()
		}
		if row == "" {
			t.Fatalf("%s did not run, and docs/verifiers.md has no row of it", r.name)
		}
		data.Rows = append(data.Rows, row)
		data.Examples = append(data.Examples, r)
	}
	functions := template.FuncMap{
		"name": func(r *reader) string { return r.name },
		"from": func(r *reader) string {
			return strings.NewReplacer("Debian: ", "Packages of Debian: ", "npm: ", "Packages of npm: ").Replace(r.from)
		},
		"needs":    func(r *reader) string { return r.needs },
		"code":     func(r *reader) string { return strings.TrimSpace(snippet(r.example(t))) },
		"language": func(r *reader) string { return languages[filepath.Ext(r.file)] },
		"lacks":    func(r *reader) string { return nameAlgorithms(r.lacks) },
	}
	text := template.Must(template.New("verifiers.md.tmpl").Funcs(functions).ParseFiles("verifiers.md.tmpl"))
	if err := text.Execute(&page, data); err != nil {
		t.Fatal(err)
	}
	return page.Bytes()
}

// languages are the names of code blocks.
var languages = map[string]string{
	".go": "go", ".mjs": "js", ".py": "python", ".rb": "ruby", ".pl": "perl", ".sh": "sh", ".c": "c", ".erl": "erlang",
	".cfg": "haproxy", ".conf": "apache", ".yaml": "yaml",
}

// snippet leaves out the comment and the name of a package of Go.
func snippet(example string) string {
	if _, rest, isGo := strings.Cut(example, "compatibility promise. It is an example to copy.\npackage "); isGo {
		_, rest, _ = strings.Cut(rest, "\n")
		return rest
	}
	return example
}

func oldRow(page, name string) string {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "| ["+name+"](") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// anchor is the address of a heading, as GitHub makes it.
func anchor(heading string) string {
	return strings.ReplaceAll(regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

func (o observation) row() string {
	cells := []string{fmt.Sprintf("[%s](#%s)", o.name, anchor(o.name)), o.version, o.needs, nameAlgorithms(o.lacks), o.mixed(), o.unknown(), o.standby(), o.fresh()}
	return "| " + strings.Join(cells, " | ") + " |"
}

func (o observation) mixed() string {
	switch o.reads {
	case "all":
		return "reads the others"
	case "no ML-DSA":
		return "**refuses the set** with an ML-DSA key"
	}
	return "**refuses the set** with an ML-DSA or Ed25519 key"
}

func (o observation) unknown() string {
	switch {
	case !o.refuses:
		return "fetches at once"
	case o.coolsDown:
		return "fetches, at most every 30 s"
	}
	return "**refuses** until it fetches again"
}

func (o observation) standby() string {
	if o.trusts {
		return "trusted: " + o.cache
	}
	return "dropped"
}

func (o observation) fresh() string {
	switch {
	case o.keeps:
		return "trusted: " + o.cache
	case o.remembers:
		return "dropped, but verified tokens are remembered"
	}
	return "dropped"
}

// nameAlgorithms shortens whole families.
func nameAlgorithms(some []string) string {
	text := strings.Join(sortAlgorithms(some), ", ")
	text = strings.Replace(text, "ML-DSA-44, ML-DSA-65, ML-DSA-87", "ML-DSA", 1)
	text = strings.Replace(text, "PS256, PS384, PS512", "PS256 to PS512", 1)
	if text == "" {
		return "none"
	}
	return text
}
