package keys_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// There is no way from a private key to an answer: only sealing asks for it in
// clear, and nobody else writes private keys down in any format. Package keystest
// is imported by tests alone, see arch_test.go.
func TestPrivateKeysAreOnlyMarshaledToBeSealed(t *testing.T) {
	allowed := map[string]string{"PKCS8": "keys/moves/candidate.go", "MarshalPKCS8PrivateKey": "keys/private.go", "MarshalECPrivateKey": "", "MarshalPKCS1PrivateKey": ""}
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
				if home, watched := allowed[s.Sel.Name]; watched {
					if seen++; filepath.ToSlash(path) != "../"+home {
						t.Errorf("%s calls %s", path, s.Sel.Name)
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil || seen != 2 {
		t.Errorf("%d uses found, %v", seen, err)
	}
}
