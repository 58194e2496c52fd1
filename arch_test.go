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
	".":                     {"httpapi", "signin", "worker", "webhook", "publish", "keys/adoption", "keys/tokens", "keys/snapshot", "keys/signing", "keys/custody", "keys/moves", "keys/seal", "tenant", "audit", "db", "internal/plural"},
	"migrations":            {},
	"db":                    {"migrations", "internal/age", "internal/plural", "internal/loopback"},
	"db/dbtest":             {"db", "db/embedded", "migrations"},
	"db/embedded":           {},
	"audit":                 {"db"},
	"tenant":                {"audit", "db", "internal/admission", "internal/age", "internal/loopback"},
	"keys":                  {"tenant"},
	"keys/tokens":           {"keys", "internal/strictjson"},
	"keys/keyfile":          {"keys", "keys/tokens", "internal/strictjson"},
	"keys/custody":          {"keys/seal", "tenant", "audit", "db", "internal/plural"},
	"keys/adoption":         {"tenant", "db"},
	"keys/snapshot":         {"keys", "keys/tokens", "tenant", "audit", "db", "internal/admission", "internal/age", "internal/callstack"},
	"keys/signing":          {"keys", "keys/tokens", "keys/snapshot", "keys/custody", "keys/seal", "tenant", "audit", "db", "internal/age"},
	"keys/moves":            {"keys", "keys/adoption", "keys/tokens", "keys/keyfile", "keys/snapshot", "keys/signing", "keys/custody", "keys/seal", "tenant", "audit", "db", "internal/durations"},
	"keys/keystest":         {"keys", "keys/seal"},
	"keys/seal":             {"internal/filelock", "internal/loopback"},
	"keys/seal/kmstest":     {},
	"worker":                {"db", "internal/age", "internal/callstack"},
	"webhook":               {"tenant", "audit", "db", "internal/retryafter"},
	"publish":               {"keys", "keys/snapshot", "tenant", "audit", "db", "internal/callstack", "internal/filelock"},
	"internal/admission":    {},
	"httpapi":               {"httpapi/console", "keys", "keys/adoption", "keys/tokens", "keys/snapshot", "keys/signing", "keys/custody", "keys/moves", "webhook", "publish", "tenant", "audit", "internal/admission", "internal/age", "internal/callstack", "internal/strictjson", "internal/plural"},
	"internal/age":          {},
	"internal/callstack":    {},
	"internal/durations":    {"internal/plural"},
	"internal/filelock":     {},
	"internal/cachecontrol": {},
	"internal/loopback":     {},
	"internal/plural":       {},
	"internal/retryafter":   {},
	"internal/sdnotify":     {},
	"internal/sse":          {},
	"internal/strictjson":   {},
	"jwks":                  {"internal/retryafter", "internal/sse"},
	"jwks/jwkshttp":         {"jwks"},
	"jwks/jwkstest":         {},
	"moving":                {"keys", "keys/tokens", "keys/keyfile", "internal/plural", "internal/loopback"},
	"httpapi/console":       {"docs", "tenant", "audit", "client", "internal/durations", "internal/plural"},
	"docs":                  {},
	"httpapi/browsertest":   {},
	"client":                {"internal/retryafter", "internal/sse", "internal/loopback"},
	"client/signer":         {"client"},
	"cmd/keyward":           {"client", "signin", "jwks", "moving", "httpapi", "httpapi/console", "worker", "webhook", "publish", "keys", "keys/adoption", "keys/tokens", "keys/keyfile", "keys/snapshot", "keys/signing", "keys/custody", "keys/moves", "keys/seal", "tenant", "audit", "db", "db/embedded", "internal/age", "internal/sdnotify", "internal/plural", "internal/loopback"},
	"signin":                {"jwks", "tenant", "audit", "internal/loopback"},
}

// testOnly may be imported by any test.
var testOnly = []string{"keys/adoption", "internal/admission", "internal/age", "internal/strictjson", "db/dbtest", "db/embedded", "db", "publish", "keys", "keys/tokens", "keys/keyfile", "keys/snapshot", "keys/signing", "keys/custody", "keys/moves", "keys/keystest", "keys/seal", "keys/seal/kmstest", "tenant", "audit", "httpapi", "webhook", "worker", "migrations", "jwks", "jwks/jwkstest", "signin", "httpapi/browsertest", "client", "client/signer"}

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

// pure lists the rooms that decide and compute, and do nothing else.
var pure = []string{"keys", "keys/tokens", "keys/keyfile"}

// impure are packages by which a room could reach the world outside, or wait for
// it.
var impure = []string{"net", "os", "io/fs", "database/sql", "log", "context", "syscall", "github.com/jackc", module + "db"}

// A pure room imports nothing that does I/O and does not look at the clock: what
// it says depends on its arguments alone, and on crypto/rand. Package tenant is
// imported for the types of policies, which it checks without I/O.
func TestPureRooms(t *testing.T) {
	eachFile(t, func(room, path string, file *ast.File) {
		if !slices.Contains(pure, room) || strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			for _, p := range impure {
				if name == p || strings.HasPrefix(name, p+"/") && name != "log/slog" {
					t.Errorf("%s imports %s; %s is pure", path, name, room)
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, selector := n.(*ast.SelectorExpr)
			if !selector {
				return true
			}
			if pkg, plain := s.X.(*ast.Ident); plain && pkg.Name == "time" &&
				slices.Contains([]string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}, s.Sel.Name) {
				t.Errorf("%s calls time.%s; %s is pure", path, s.Sel.Name, room)
			}
			return true
		})
	})
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
		if len(paths) == 0 {
			t.Errorf("%s is drawn in this file and does not exist", room)
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
	apart := []string{"tools", "interop", "bench", "torture", "examples", "jwks/echojwks", "jwks/grpcjwks", "fronts/kubernetes", "fronts/spiffe"} // modules of their own
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

// Only jwks and client, with what is in their folders, are for importers.
// TestOnlyAPIPackagesPromiseCompatibility checks that every other package's
// comment says so, in the modules beside this one too.
func TestOnlyAPIPackagesPromiseCompatibility(t *testing.T) {
	const notice = "internal to Keyward: no compatibility promise"
	comments := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || !strings.Contains(path, string(filepath.Separator)) {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err == nil {
			comments[filepath.ToSlash(filepath.Dir(path))] += file.Doc.Text()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(comments) < len(below) {
		t.Fatalf("only %d packages were read", len(comments))
	}
	for room, comment := range comments {
		api := room == "jwks" || strings.HasPrefix(room, "jwks/") || room == "client" || strings.HasPrefix(room, "client/")
		internal := strings.Contains(strings.ToLower(strings.Join(strings.Fields(comment), " ")), strings.ToLower(notice))
		if internal == api {
			t.Errorf("the comment of %s: says %q is %t; only jwks, client and what is in their folders are API", room, notice, internal)
		}
	}
}
