package db_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
)

// privilege is a verb on a table, as PostgreSQL grants it.
type privilege struct{ Table, Verb string }

var (
	inserts = regexp.MustCompile(`(?i)\bINSERT INTO (?:public\.)?(\w+)`)
	updates = regexp.MustCompile(`(?i)(\bFOR |\bDO |\bKEY )?\bUPDATE (?:public\.)?(\w+)`)
	deletes = regexp.MustCompile(`(?i)\bDELETE FROM (?:public\.)?(\w+)`)
	locks   = regexp.MustCompile(`(?i)\bFOR (UPDATE|NO KEY UPDATE|SHARE|KEY SHARE)\b`)
)

// needed returns the privileges that a statement needs, or more: every table that it names
// counts as read, and as locked if it locks.
func needed(sql string, tables []string) map[privilege]bool {
	need := map[privilege]bool{}
	for _, m := range inserts.FindAllStringSubmatch(sql, -1) {
		need[privilege{m[1], "INSERT"}] = true
		if strings.Contains(strings.ToUpper(sql), "DO UPDATE") {
			need[privilege{m[1], "UPDATE"}] = true
		}
	}
	for _, m := range updates.FindAllStringSubmatch(sql, -1) {
		if m[1] == "" {
			need[privilege{m[2], "UPDATE"}] = true
		}
	}
	for _, m := range deletes.FindAllStringSubmatch(sql, -1) {
		need[privilege{m[1], "DELETE"}] = true
	}
	for _, table := range tables {
		if regexp.MustCompile(`\b` + table + `\b`).MatchString(sql) {
			need[privilege{table, "SELECT"}] = true
			if locks.MatchString(sql) {
				need[privilege{table, "UPDATE"}] = true
			}
		}
	}
	return need
}

// No role has a privilege that no statement of the program needs, on any table, and every
// statement has a role that may send it: a privilege that is not used is of use only to
// somebody who has got hold of a connection.
func TestPrivilegesFollowFromStatements(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var tables []string
	rows, _ := conn.Query(t.Context(), "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'")
	if tables, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(tables) < 15 {
		t.Fatal(tables, err)
	}
	need := map[privilege]bool{}
	for _, s := range statements(t) {
		maps.Copy(need, needed(s.sql, tables))
	}
	for _, file := range handWritten(t) {
		maps.Copy(need, needed(file, tables))
	}
	granted, may := grantsOf(t, conn)
	for g := range granted {
		if !need[g.privilege] || g.Role == "PUBLIC" || g.Role == "keyward_public" && g.Verb != "SELECT" || g.Role == "keyward_app" && g.Verb == "DELETE" {
			t.Errorf("%s has %s on %s, which nothing needs", g.Role, g.Verb, g.Table)
		}
	}
	for p := range need {
		if slices.Contains(tables, p.Table) && !may[p] {
			t.Errorf("a statement needs %s on %s, which no role has", p.Verb, p.Table)
		}
	}
	publicColumns(t, conn)
}

// grant is a privilege of a role, on a table or on some of its columns.
type grant struct {
	Role string
	privilege
}

// grantsOf returns what the roles have, and which privileges any of them has.
func grantsOf(t *testing.T, conn *pgx.Conn) (granted map[grant]bool, may map[privilege]bool) {
	t.Helper()
	rows, _ := conn.Query(t.Context(), `SELECT grantee::text, table_name::text, privilege_type::text FROM information_schema.table_privileges
		WHERE table_schema = 'public' AND grantee IN ('keyward_app', 'keyward_platform', 'keyward_public', 'PUBLIC')
		UNION SELECT DISTINCT grantee::text, table_name::text, privilege_type::text FROM information_schema.column_privileges
		WHERE table_schema = 'public' AND grantee IN ('keyward_app', 'keyward_platform', 'keyward_public', 'PUBLIC')`)
	granted, may = map[grant]bool{}, map[privilege]bool{}
	var g grant
	if _, err := pgx.ForEachRow(rows, []any{&g.Role, &g.Table, &g.Verb}, func() error {
		granted[g], may[g.privilege] = true, true
		return nil
	}); err != nil || len(granted) < 40 {
		t.Fatal(len(granted), err)
	}
	return granted, may
}

// handWritten are the files of this package with statements that are not generated.
func handWritten(t *testing.T) (texts []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, ".gen.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, regexp.MustCompile("(?s)`[^`]*`|\"[^\"\n]*\"").FindAllString(string(text), -1)...)
	}
	return texts
}

// publicStatements are sent with the role that connections have between transactions.
var publicStatements = []string{"PublicTenant", "PublicTenantBySlug", "PublishedKeys", "PublicPolicies", "PublicChangedAt", "PublicKeyHistory", "TenantOfDomain"}

// publicColumns checks that the role which everybody's requests use may read what its
// statements name, and no other column.
func publicColumns(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	var sql []string
	for _, s := range statements(t) {
		if slices.Contains(publicStatements, s.name) {
			sql = append(sql, s.sql)
		}
	}
	if len(sql) != len(publicStatements) {
		t.Errorf("%d of %d statements of keyward_public were found", len(sql), len(publicStatements))
	}
	rows, _ := conn.Query(t.Context(), `SELECT table_name::text, column_name::text FROM information_schema.column_privileges WHERE table_schema = 'public' AND grantee = 'keyward_public'`)
	var table, column string
	if _, err := pgx.ForEachRow(rows, []any{&table, &column}, func() error {
		if !slices.ContainsFunc(sql, func(s string) bool {
			return strings.Contains(s, table) && regexp.MustCompile(`\b`+column+`\b`).MatchString(s)
		}) {
			t.Errorf("keyward_public may read %s.%s, which it never does", table, column)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
