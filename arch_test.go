// Package keyward_test keeps the house as it was drawn: who may import whom.
package keyward_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/keyward/keyward/"

// below lists the rooms that each room may import. Nothing points up.
var below = map[string][]string{
	"migrations":        {},
	"db":                {"migrations"},
	"db/dbtest":         {"db", "db/embedded", "migrations"},
	"db/embedded":       {},
	"audit":             {"db"},
	"tenant":            {"audit", "db"},
	"keys":              {"tenant", "audit", "db", "keys/seal"},
	"keys/keystest":     {"keys/seal"},
	"keys/seal":         {},
	"keys/seal/kmstest": {},
	"worker":            {"db"},
	"webhook":           {"tenant", "audit", "db"},
	"httpapi":           {"keys", "webhook", "tenant", "audit"},
	"jwks":              {},
	"jwks/jwkshttp":     {"jwks"},
	"jwks/jwkstest":     {},
	"moving":            {},
	"client":            {},
	"cmd/keyward":       {"client", "signin", "jwks", "moving", "httpapi", "worker", "webhook", "keys", "keys/seal", "tenant", "audit", "db", "db/embedded"},
	"signin":            {"jwks", "tenant", "audit"},
	"httpapi/console":   {"keys", "tenant", "audit"},
}

// testOnly may be imported by any test.
var testOnly = []string{"db/dbtest", "db/embedded", "db", "keys", "keys/keystest", "keys/seal", "keys/seal/kmstest", "tenant", "audit", "httpapi", "webhook", "worker", "migrations", "jwks", "jwks/jwkstest", "signin"}

func TestNothingPointsUp(t *testing.T) {
	eachFile(t, func(room, path string, file *ast.File) {
		allowed := below[room]
		if strings.HasSuffix(path, "_test.go") {
			allowed = append(append(slices.Clone(allowed), testOnly...), room)
		}
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if other, ours := strings.CutPrefix(name, module); ours && !slices.Contains(allowed, other) {
				t.Errorf("%s imports %s, which is not below %s", path, other, room)
			}
			if strings.HasPrefix(name, "github.com/labstack/echo") && room != "httpapi" {
				t.Errorf("%s imports echo; only httpapi does", path)
			}
		}
	})
}

// A store takes its database in a Config; no row, transaction or pool shows in
// what a room exports.
func TestNoDatabaseTypeInExportedSignatures(t *testing.T) {
	eachFile(t, func(room, path string, file *ast.File) {
		if room == "db" || strings.HasPrefix(room, "db/") || strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, decl := range file.Decls {
			if f, isFunc := decl.(*ast.FuncDecl); isFunc && f.Name.IsExported() && exportedReceiver(f) && mentionsDB(f.Type) {
				t.Errorf("%s: the signature of %s mentions db", path, f.Name.Name)
			}
		}
	})
}

func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	expr := f.Recv.List[0].Type
	if star, pointer := expr.(*ast.StarExpr); pointer {
		expr = star.X
	}
	name, plain := expr.(*ast.Ident)
	return !plain || name.IsExported()
}

func mentionsDB(n ast.Node) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if s, selector := n.(*ast.SelectorExpr); selector {
			if pkg, plain := s.X.(*ast.Ident); plain && pkg.Name == "db" {
				found = true
			}
		}
		return !found
	})
	return found
}

// eachFile parses every Go file of the rooms.
func eachFile(t *testing.T, visit func(room, path string, file *ast.File)) {
	t.Helper()
	seen := 0
	for room := range below {
		paths, err := filepath.Glob(filepath.Join(filepath.FromSlash(room), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			visit(room, path, file)
			seen++
		}
	}
	if seen < 50 {
		t.Fatalf("only %d files were looked at", seen)
	}
}

// Every folder with Go code is a room that this file knows.
func TestEveryRoomIsKnown(t *testing.T) {
	apart := []string{"tools", "interop", "bench", "torture", "examples", "jwks/echojwks", "jwks/grpcjwks"} // modules of their own
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == "." {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || slices.Contains(apart, path) {
			return filepath.SkipDir
		}
		files, err := filepath.Glob(filepath.Join(path, "*.go"))
		if _, known := below[filepath.ToSlash(path)]; len(files) > 0 && !known {
			t.Errorf("%s is not drawn in this file", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
