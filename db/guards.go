package db

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Guard is one of the things of the database that keep tenants apart and history
// whole: a role, a privilege, an owner, row level security, a policy, a function of
// a trigger, a trigger. SQL makes it; it can be run again.
type Guard struct {
	ID  string `json:"id"` // the same in every database that has the guard
	SQL string `json:"sql"`
}

// guardsFile lists the guards that the migrations make, in an order in which they
// can be made. TestGuards compares it with a migrated database and writes it.
//
//go:embed guards.json
var guardsFile []byte

// guardsQuery reads the guards of a database from PostgreSQL's catalogs. A function is
// identified by what it does: its source, or for one whose body is SQL its body as
// PostgreSQL prints it, its settings, language and kind. pg_get_functiondef has all of
// that too, but does not print it alike in every version of PostgreSQL. A trigger is
// identified by its name and definition, without parentheses: PostgreSQL nests those of
// an OR of three anew when it reads a dump.
const guardsQuery = `
WITH roles AS (
    SELECT oid, rolname FROM pg_catalog.pg_roles WHERE rolname IN ('keyward_owner', 'keyward_app', 'keyward_platform', 'keyward_public')
), tables AS (
    SELECT c.oid, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity, 'public.' || quote_ident(c.relname) AS name
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
), functions AS (
    SELECT p.oid, p.proowner, concat_ws(' ', COALESCE(pg_get_function_sqlbody(p.oid), p.prosrc), array_to_string(p.proconfig, ','),
        l.lanname, p.prosecdef, p.provolatile, p.proisstrict, format_type(p.prorettype, NULL), p.proretset) AS does,
        'public.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'keyward\_%'
), guards AS (
    SELECT 1 AS rank, 'role ' || rolname AS id, format('CREATE ROLE %I NOLOGIN NOINHERIT', rolname) AS sql FROM roles
    UNION ALL
    SELECT 2, 'role without privileges ' || rolname, format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS NOLOGIN', rolname)
    FROM roles JOIN pg_catalog.pg_roles USING (rolname) WHERE NOT rolsuper AND NOT rolbypassrls AND NOT rolcanlogin
    UNION ALL
    SELECT 3, 'schema ' || r.rolname || ' ' || a.privilege_type, format('GRANT %s ON SCHEMA public TO %I', a.privilege_type, r.rolname)
    FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a JOIN roles r ON r.oid = a.grantee
    WHERE n.nspname = 'public'
    UNION ALL
    SELECT 4, 'owner of ' || t.name, format('ALTER TABLE %s OWNER TO keyward_owner', t.name)
    FROM tables t JOIN roles r ON r.oid = t.relowner AND r.rolname = 'keyward_owner'
    UNION ALL
    SELECT 5, 'function ' || f.name || ' ' || md5(f.does), pg_get_functiondef(f.oid) FROM functions f
    UNION ALL
    SELECT 6, 'owner of ' || f.name, format('ALTER FUNCTION %s OWNER TO keyward_owner', f.name)
    FROM functions f JOIN roles r ON r.oid = f.proowner AND r.rolname = 'keyward_owner'
    UNION ALL
    SELECT 7, 'grant ' || t.name || ' ' || r.rolname || ' ' || a.privilege_type, format('GRANT %s ON %s TO %I', a.privilege_type, t.name, r.rolname)
    FROM tables t CROSS JOIN LATERAL aclexplode(t.relacl) a JOIN roles r ON r.oid = a.grantee
    WHERE a.grantee <> t.relowner
    UNION ALL
    SELECT 8, 'grant ' || t.name || '.' || quote_ident(c.attname) || ' ' || r.rolname || ' ' || a.privilege_type,
        format('GRANT %s (%I) ON %s TO %I', a.privilege_type, c.attname, t.name, r.rolname)
    FROM tables t JOIN pg_catalog.pg_attribute c ON c.attrelid = t.oid CROSS JOIN LATERAL aclexplode(c.attacl) a JOIN roles r ON r.oid = a.grantee
    WHERE a.grantee <> t.relowner
    UNION ALL
    SELECT 9, 'row security ' || t.name, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.name) FROM tables t WHERE t.relrowsecurity
    UNION ALL
    SELECT 10, 'forced row security ' || t.name, format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t.name) FROM tables t WHERE t.relforcerowsecurity
    UNION ALL
    SELECT 11, concat_ws(' ', 'policy', t.name, p.polname, p.polcmd, p.polpermissive, who.roles, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)),
        format('DROP POLICY IF EXISTS %1$I ON %2$s; CREATE POLICY %1$I ON %2$s AS %3$s FOR %4$s TO %5$s', p.polname, t.name,
            CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, who.roles)
        || COALESCE(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
        || COALESCE(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
    FROM pg_catalog.pg_policy p JOIN tables t ON t.oid = p.polrelid
    CROSS JOIN LATERAL (SELECT string_agg(CASE WHEN o = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(o)) END, ', ' ORDER BY pg_get_userbyid(o)) AS roles
                        FROM unnest(p.polroles) o) AS who
    UNION ALL
    SELECT 12, 'trigger ' || t.name || ' ' || quote_ident(g.tgname) || ' ' || md5(translate(pg_get_triggerdef(g.oid), '() ', '')),
        format('DROP TRIGGER IF EXISTS %I ON %s; ', g.tgname, t.name) || pg_get_triggerdef(g.oid)
    FROM pg_catalog.pg_trigger g JOIN tables t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal
    UNION ALL
    SELECT 13, 'enabled trigger ' || t.name || ' ' || quote_ident(g.tgname), format('ALTER TABLE %s ENABLE TRIGGER %I', t.name, g.tgname)
    FROM pg_catalog.pg_trigger g JOIN tables t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
)
SELECT id, sql || ';' FROM guards ORDER BY rank, id`

// readGuards returns the guards that a database has.
func readGuards(ctx context.Context, q interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
},
) ([]Guard, error) {
	rows, err := q.Query(ctx, guardsQuery)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Guard])
}

func expectedGuards() (list []Guard, err error) {
	if err := json.Unmarshal(guardsFile, &list); err != nil {
		return nil, fmt.Errorf("db: guards.json: %w", err)
	}
	return list, nil
}

// GuardFaults are the differences between the guards of a database and those of the
// migrations.
type GuardFaults struct {
	Missing []Guard // SQL makes the guard
	Extra   []Guard // privileges and policies that nothing made; SQL takes them back
}

// Guards compares the database's guards with those that the migrations make. It
// needs no privilege. Errors: ErrUnavailable.
func (d *DB) Guards(ctx context.Context) (GuardFaults, error) {
	there, err := readGuards(ctx, d.pool)
	if err != nil {
		return GuardFaults{}, markUnavailable(err)
	}
	return compareGuards(there)
}

func compareGuards(there []Guard) (f GuardFaults, err error) {
	wanted, err := expectedGuards()
	if err != nil {
		return f, err
	}
	has := func(list []Guard, id string) bool {
		return slices.ContainsFunc(list, func(g Guard) bool { return g.ID == id })
	}
	for _, g := range wanted {
		if !has(there, g.ID) {
			f.Missing = append(f.Missing, g)
		}
	}
	for _, g := range there {
		if undo := undoGuard(g); undo != "" && !has(wanted, g.ID) {
			f.Extra = append(f.Extra, Guard{g.ID, undo})
		}
	}
	return f, nil
}

// undoGuard returns the statement that takes a privilege or a policy back, "" for
// other guards: only those two can open what others close.
func undoGuard(g Guard) string {
	kind, _, _ := strings.Cut(g.ID, " ")
	switch kind {
	case "grant":
		return strings.Replace(strings.Replace(g.SQL, "GRANT ", "REVOKE ", 1), " TO ", " FROM ", 1)
	case "policy":
		drop, _, _ := strings.Cut(g.SQL, "; ")
		return drop + ";"
	}
	return ""
}

// MendGuards makes the database's guards those of the migrations, in one transaction,
// and gives its login the serving roles. It returns the statements that it ran. url is
// the URL of a superuser or of the login that owns the schema; if roles are missing
// that login needs CREATEROLE.
func MendGuards(ctx context.Context, url string) (done []string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, markUnavailable(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, markUnavailable(err)
	}
	defer rollBack(ctx, tx)
	if done, err = mendRoles(ctx, tx); err != nil {
		return nil, err
	}
	there, err := readGuards(ctx, tx)
	if err != nil {
		return nil, markUnavailable(err)
	}
	faults, err := compareGuards(there)
	if err != nil {
		return nil, err
	}
	for _, g := range slices.Concat(faults.Extra, faults.Missing) {
		if _, err := tx.Exec(ctx, g.SQL); err != nil {
			return nil, fmt.Errorf("%w\n  in: %s", markUnavailable(err), g.SQL)
		}
		done = append(done, g.SQL)
	}
	return done, markUnavailable(tx.Commit(ctx))
}

// mendRoles creates missing roles and makes the login a member of each, since the
// other statements need that.
func mendRoles(ctx context.Context, tx pgx.Tx) (done []string, err error) {
	for _, role := range append([]string{"keyward_owner"}, ServingRoles...) {
		var exists, member bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1),
			EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1 AND pg_has_role(session_user, oid, 'MEMBER'))`, role).Scan(&exists, &member)
		if err != nil {
			return nil, markUnavailable(err)
		}
		statements := []string{}
		if !exists {
			statements = append(statements, "CREATE ROLE "+role+" NOLOGIN NOINHERIT;")
		}
		if !member {
			statements = append(statements, "GRANT "+role+" TO SESSION_USER;")
		}
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return nil, fmt.Errorf("%w\n  in: %s", markUnavailable(err), sql)
			}
			done = append(done, sql)
		}
	}
	return done, nil
}
