package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// docs/cli.md lists exactly the existing commands.
func TestEveryCommandIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9 -]+?)(?: [A-Z…].*)?` \\|").FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, m[1])
	}
	k, err := kong.New(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, leaf := range k.Model.Leaves(true) {
		words := strings.Fields(leaf.Path())
		there = append(there, strings.Join(slices.DeleteFunc(words, func(w string) bool {
			return w == "keyward" || strings.HasPrefix(w, "<") || strings.HasPrefix(w, "[") || strings.HasPrefix(w, "(")
		}), " "))
	}
	for _, name := range there {
		if !slices.Contains(documented, name) {
			t.Errorf("docs/cli.md does not tell of %q", name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(there, name) {
			t.Errorf("docs/cli.md tells of %q, which there is not", name)
		}
	}
}
