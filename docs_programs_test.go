package keyward_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestPagesShowTheFilesTheyName compares each block of a page that follows the name
// of a file in a comment with that file.
func TestPagesShowTheFilesTheyName(t *testing.T) {
	shown := regexp.MustCompile("(?ms)^<!-- ([\\w./-]+\\.\\w+) -->\n```\\w*\n(.*?)^```$")
	blocks := 0
	for _, page := range files(t, ".md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range shown.FindAllSubmatch(text, -1) {
			blocks++
			want, err := os.ReadFile(string(match[1]))
			if err != nil {
				t.Errorf("%s: %v", page, err)
			} else if strings.ReplaceAll(string(want), "\r\n", "\n") != string(match[2]) {
				t.Errorf("%s does not show what is in %s", page, match[1])
			}
		}
	}
	if blocks < 4 {
		t.Errorf("only %d files are shown", blocks)
	}
}
