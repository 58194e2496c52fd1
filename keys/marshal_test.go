package keys_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// There is no way from a private key to an answer: only sealing asks for it in
// clear. Beside it two commands write private keys down, of an operator who has them: the
// import of a file, and the export with the database and the master key. Package keystest
// is imported by tests alone, see arch_test.go.
func TestPrivateKeysAreOnlyMarshaledToBeSealed(t *testing.T) {
	allowed := map[string][]string{
		"PKCS8": {"keys/moves/candidate.go"}, "MarshalPKCS8PrivateKey": {"keys/private.go", "moving/pem.go", "cmd/keyward/tenant_export.go"},
		"MarshalECPrivateKey": nil, "MarshalPKCS1PrivateKey": nil,
	}
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || d.Name() == "interop" || d.Name() == "examples" || d.Name() == "keystest") {
			return cmp.Or(err, error(fs.SkipDir))
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if homes, watched := allowed[s.Sel.Name]; watched {
					if seen++; !slices.Contains(homes, strings.TrimPrefix(filepath.ToSlash(path), "../")) {
						t.Errorf("%s calls %s", path, s.Sel.Name)
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil || seen != 4 {
		t.Errorf("%d uses found, %v", seen, err)
	}
}
