package db_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
)

// doors are the functions that begin a transaction, and the role that it has.
var doors = map[string]string{"InTenant": "keyward_app", "InLockedTenant": "keyward_app", "AsPlatform": "keyward_platform"}

// carriesTransaction matches types by which statements are sent.
var carriesTransaction = regexp.MustCompile(`\b(db\.)?(Tx|Writes|Queries)\b`)

// program is what the source says about which function calls which. Functions are known
// by their names alone: those of one name count as one, so that roles are found too often
// rather than too seldom.
type program struct {
	calls   map[string]map[string]bool // by function: names that it calls or passes on
	entries map[string]map[string]bool // by name of a function that is called with one for a transaction: what that one calls
	sends   map[string]bool            // functions within a transaction: with one as receiver or parameter
	relays  map[string]bool            // functions that open a door for a function that they are called with
	carrier map[string]bool            // types with a transaction
}

// readProgram reads the source of the program, without tests.
func readProgram(t *testing.T) *program {
	t.Helper()
	p := &program{calls: map[string]map[string]bool{}, entries: map[string]map[string]bool{}, sends: map[string]bool{}, relays: map[string]bool{}, carrier: map[string]bool{}}
	var files []*ast.File
	if err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"node_modules", "interop", "torture", "bench", "examples", "tools", "dbtest"}, name):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".gen.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for more := true; more; { // types that hold types with a transaction
		more = false
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.TypeSpec); ok && !p.carrier[s.Name.Name] && p.isCarrier(s.Type) {
					p.carrier[s.Name.Name], more = true, true
				}
				return true
			})
		}
	}
	for door := range doors {
		p.relays[door] = true
	}
	for _, add := range []func(*ast.FuncDecl){p.addKind, p.addFunction} {
		for _, f := range files {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
					add(fn)
				}
			}
		}
	}
	return p
}

// isCarrier reports whether a struct has a field with a transaction, by its type's name.
func (p *program) isCarrier(typ ast.Expr) bool {
	s, ok := typ.(*ast.StructType)
	return ok && slices.ContainsFunc(s.Fields.List, func(f *ast.Field) bool { return p.hasTransaction(f.Type) })
}

// hasTransaction reports whether a type is one with a transaction, or a pointer to one.
func (p *program) hasTransaction(typ ast.Expr) bool {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return p.hasTransaction(typ.X)
	case *ast.SelectorExpr:
		return p.hasTransaction(typ.Sel)
	case *ast.Ident:
		return carriesTransaction.MatchString(typ.Name) || p.carrier[typ.Name]
	}
	return false
}

// addKind notes whether a function is called within a transaction, or begins one for
// another function.
func (p *program) addKind(fn *ast.FuncDecl) {
	fields := slices.Clone(fn.Type.Params.List)
	if fn.Recv != nil {
		fields = append(fields, fn.Recv.List...)
	}
	if slices.ContainsFunc(fields, func(f *ast.Field) bool { return p.hasTransaction(f.Type) }) {
		p.sends[fn.Name.Name] = true
	} else if slices.ContainsFunc(fields, func(f *ast.Field) bool {
		takes, ok := f.Type.(*ast.FuncType)
		return ok && p.isWithin(takes)
	}) {
		p.relays[fn.Name.Name] = true
	}
}

// isWithin reports whether a function is called with a transaction.
func (p *program) isWithin(typ *ast.FuncType) bool {
	return slices.ContainsFunc(typ.Params.List, func(f *ast.Field) bool { return p.hasTransaction(f.Type) })
}

func (p *program) addFunction(fn *ast.FuncDecl) {
	if p.calls[fn.Name.Name] == nil {
		p.calls[fn.Name.Name] = map[string]bool{}
	}
	p.addCalls(fn.Body, p.calls[fn.Name.Name])
}

// addCalls notes the names that a body mentions. What a function literal for a
// transaction mentions is noted for the function that it is passed to instead.
func (p *program) addCalls(body ast.Node, to map[string]bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			callee := nameOf(n.Fun)
			of := to
			if p.relays[callee] {
				if p.entries[callee] == nil {
					p.entries[callee] = map[string]bool{}
				}
				of = p.entries[callee]
			}
			for _, arg := range n.Args {
				if lit, ok := arg.(*ast.FuncLit); ok && p.isWithin(lit.Type) {
					p.addCalls(lit.Body, of)
				} else if p.addCalls(arg, to); nameOf(arg) != "" {
					of[nameOf(arg)] = true
				}
			}
			p.addCalls(n.Fun, to)
			return false
		case *ast.SelectorExpr:
			to[n.Sel.Name] = true
		case *ast.Ident:
			to[n.Name] = true
		}
		return true
	})
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	case *ast.IndexExpr:
		return nameOf(e.X)
	}
	return ""
}

// reaches returns the statements, of those named, that may be sent under a role.
func (p *program) reaches(role string, statements map[string]string) map[string]bool {
	// Functions that open a door of the role, themselves or by others that they call.
	opens := map[string]bool{}
	for door, of := range doors {
		opens[door] = of == role
	}
	for more := true; more; {
		more = false
		for name := range p.relays {
			for called := range p.calls[name] {
				if opens[called] && !opens[name] {
					opens[name], more = true, true
				}
			}
		}
	}
	reached, todo := map[string]bool{}, []string{}
	add := func(names map[string]bool) {
		for name := range names {
			if _, is := statements[name]; !reached[name] && (is || p.sends[name]) {
				reached[name] = true
				todo = append(todo, name)
			}
		}
	}
	for name := range opens {
		if opens[name] {
			add(p.entries[name])
		}
	}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		add(p.calls[name])
	}
	return reached
}

// sentByThisPackage are statements that package db sends itself, under roles that the
// source does not show: each role may need them.
var sentByThisPackage = []string{
	"AnswerConfirmation", "AskForConfirmation", "CountIdempotencyKeys", "EnterPublicTenant", "GetDataKey", "GetIdempotencyKey", "GetSealedKey",
	"PublicChangedAt", "PublicKeyHistory", "PublicPolicies", "PublicTenant", "PublicTenantBySlug", "PublishedKeys", "RecordSignatures", "TenantOfDomain", "TenantVersions", "UpsertProcess",
}

// No role has a privilege on a table that none of its own statements needs. Which role
// sends a statement follows from the doors through which the source reaches it.
func TestEachRoleHasWhatItsDoorsNeed(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	granted, _ := grantsOf(t, conn)
	p, named := readProgram(t), map[string]string{}
	for _, s := range statements(t) {
		named[s.name] = s.sql
	}
	tables := map[string]bool{}
	for g := range granted {
		tables[g.Table] = true
	}
	reached := map[string]int{}
	for _, role := range []string{"keyward_app", "keyward_platform"} {
		need := map[privilege]bool{}
		for name := range p.reaches(role, named) {
			if sql, is := named[name]; is {
				reached[name]++
				maps.Copy(need, needed(sql, slices.Collect(maps.Keys(tables))))
			}
		}
		for _, name := range sentByThisPackage {
			maps.Copy(need, needed(named[name], slices.Collect(maps.Keys(tables))))
		}
		for _, text := range handWritten(t) {
			maps.Copy(need, needed(text, slices.Collect(maps.Keys(tables))))
		}
		for g := range granted {
			if g.Role == role && !need[g.privilege] {
				t.Errorf("%s has %s on %s, which no statement behind its doors needs", role, g.Verb, g.Table)
			}
		}
	}
	for name := range named {
		if slices.Contains(sentByThisPackage, name) == (reached[name] > 0) {
			t.Errorf("%s is sent through %d doors: the list above, or doors, is out of date", name, reached[name])
		}
	}
	if both := len(slices.DeleteFunc(slices.Collect(maps.Values(reached)), func(n int) bool { return n < 2 })); both > len(named)/2 {
		t.Errorf("%d of %d statements are found behind both doors: the search tells nothing", both, len(named))
	}
}
