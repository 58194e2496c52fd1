package keyward_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
	citedTest    = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
)

// TestEveryThreatHasItsTest looks into the tables of SECURITY.md, the threat model and the
// limits of connections: each row whose table has a column of tests names at least one that is
// a function of a test file.
func TestEveryThreatHasItsTest(t *testing.T) {
	functions := map[string]bool{}
	for _, path := range files(t, "_test.go") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range testFunction.FindAllSubmatch(text, -1) {
			functions[string(match[1])] = true
		}
	}
	for page, least := range map[string]int{"SECURITY.md": 10, "docs/threat-model.md": 50, "docs/networking.md": 9, "docs/guarantees.md": 20} {
		rows := 0
		for _, row := range rowsWithTests(t, page) {
			rows++
			cited := citedTest.FindAllString(row, -1)
			if len(cited) == 0 {
				t.Errorf("%s: no test attacks %s", page, row)
			}
			for _, name := range cited {
				if !functions[name] {
					t.Errorf("%s: %s is no test: %s", page, name, row)
				}
			}
		}
		if rows < least {
			t.Errorf("%s: only %d rows have tests", page, rows)
		}
	}
}

// rowsWithTests lists the rows of the page's tables that have a column "test" or "refused",
// whose cells name the test.
func rowsWithTests(t *testing.T, page string) (rows []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	within, header := false, true
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			within, header = false, true
		case header:
			within, header = strings.Contains(line, "| test |") || strings.Contains(line, "| refused |"), false
		case within && !strings.HasPrefix(line, "| ---"):
			rows = append(rows, line)
		}
	}
	return rows
}
