package keyward_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestEveryCodeIsExplained looks every error code of the API, and every code of a
// refused token, up in docs/troubleshooting.md, which explains no other.
func TestEveryCodeIsExplained(t *testing.T) {
	document, err := openapi3.NewLoader().LoadFromFile("httpapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if code, is := strings.CutPrefix(line, "| `"); is {
			code, _, _ = strings.Cut(code, "`")
			rows[code] = true
		}
	}
	for _, schema := range []string{"ProblemCode", "VerifyCode"} {
		for _, code := range document.Components.Schemas[schema].Value.Enum {
			if !rows[code.(string)] {
				t.Errorf("docs/troubleshooting.md does not explain %s of %s", code, schema)
			}
			delete(rows, code.(string))
		}
	}
	for code := range rows {
		t.Errorf("docs/troubleshooting.md explains %s, which the API does not have", code)
	}
}

// TestSymptomsAreLogged looks the messages that docs/troubleshooting.md quotes as symptoms
// up in the sources: operators search for them as they are.
func TestSymptomsAreLogged(t *testing.T) {
	page, err := os.ReadFile("docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| "([^"]+)"`).FindAllStringSubmatch(string(page), -1) {
		missing[m[1]] = true
	}
	if len(missing) == 0 {
		t.Fatal("no message is quoted")
	}
	for _, path := range files(t, ".go") {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for message := range missing {
			if strings.Contains(string(text), `"`+message) {
				delete(missing, message)
			}
		}
	}
	for message := range missing {
		t.Errorf("docs/troubleshooting.md quotes %q, which nothing says", message)
	}
}
