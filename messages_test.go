package keyward_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// plurals finds a noun in the plural beside a number that is not known.
var plurals = regexp.MustCompile(`%d (?:[a-z-]+ ){0,2}?([a-zA-Z]+s)\b|\b(?:These|All|Both) %d\b`)

// notNouns end like a plural and are none, or are units that stand beside limits alone.
var notNouns = []string{"is", "was", "has", "as", "this", "its", "of", "bytes", "bits", "kms", "ms", "follows", "these"}

// limits are names of constants above 1.
var limits = regexp.MustCompile(`^(max|most|gatewayMax|nimbusMax|redirects$)|Max[A-Z]|^Max`)

// TestNumbersAgreeWithTheirNouns finds messages that would say "1 keys". A number that is
// not a limit has its noun from package plural.
func TestNumbersAgreeWithTheirNouns(t *testing.T) {
	own := []string{"jwks/", "fronts/", "examples/", "bench/", "interop/", "torture/", "tools/", "db/dbtest", "httpapi/browsertest"} // other modules, and programs for developers
	found := 0
	for _, path := range files(t, ".go") {
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".gen.go") || slices.ContainsFunc(own, func(dir string) bool { return strings.HasPrefix(path, dir) }) {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, is := n.(*ast.CallExpr)
			if !is {
				return true
			}
			for i, arg := range call.Args {
				format, is := arg.(*ast.BasicLit)
				if !is || format.Kind != token.STRING {
					continue
				}
				text, err := strconv.Unquote(format.Value)
				if err != nil {
					t.Fatal(err)
				}
				found += strings.Count(text, "%d")
				for _, number := range numbersOfPlurals(text) {
					if at := i + 1 + number; at < len(call.Args) && !isLimit(call.Args[at]) {
						t.Errorf("%s: %q says 1 of several things; package plural writes the noun", fset.Position(format.Pos()), text)
					}
				}
			}
			return true
		})
	}
	if found < 100 {
		t.Errorf("%d numbers in messages: the test reads too little", found)
	}
}

// numbersOfPlurals returns which verbs of a format stand before a plural.
func numbersOfPlurals(format string) (all []int) {
	for _, m := range plurals.FindAllStringSubmatchIndex(format, -1) {
		if m[2] >= 0 && slices.Contains(notNouns, format[m[2]:m[3]]) {
			continue
		}
		at := m[0] + strings.Index(format[m[0]:], "%d")
		before := strings.ReplaceAll(format[:at], "%%", "")
		all = append(all, strings.Count(before, "%"))
	}
	return all
}

func isLimit(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return limits.MatchString(e.Name)
	case *ast.SelectorExpr:
		return limits.MatchString(e.Sel.Name)
	}
	return false
}
