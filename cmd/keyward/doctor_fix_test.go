package main

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

// servingLogin creates a login with the serving roles alone, as docs/database.md
// says, and returns its URL.
func servingLogin(t *testing.T, super, name string) string {
	t.Helper()
	u, err := url.Parse(super)
	if err != nil {
		t.Fatal(err)
	}
	name += strconv.Itoa(len(u.Path)) + strings.ReplaceAll(strings.TrimPrefix(u.Path, "/"), "-", "_")
	dbtest.Exec(t, super, "CREATE ROLE "+name+" LOGIN PASSWORD 'for-tests'; GRANT keyward_public, keyward_app, keyward_platform TO "+name)
	t.Cleanup(func() { dbtest.Exec(t, super, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	u.User = url.UserPassword(name, "for-tests")
	return u.String()
}

func findings(t *testing.T, env environ) (list []finding, ok bool) {
	t.Helper()
	var out struct {
		OK       bool
		Findings []struct {
			Status, Check, Detail string
			Fix                   []string
		}
	}
	r := keyward(t, env, "doctor", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		t.Fatalf("%v: %s %s", err, r.stdout, r.stderr)
	}
	for _, f := range out.Findings {
		list = append(list, finding{verdict(f.Status), f.Check, f.Detail, f.Fix})
	}
	return list, out.OK
}

// The logins of docs/database.md suffice: one migrates and mends, one serves and is
// found healthy, one takes a backup of every row.
func TestDocumentedLogins(t *testing.T) {
	page, err := os.ReadFile("../../docs/database.md")
	if err != nil {
		t.Fatal(err)
	}
	server := dbtest.NewServer(t)
	for _, m := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for statement := range strings.SplitSeq(m[1], ";\n") { // CREATE DATABASE stands alone
			if statement = strings.TrimSpace(statement); statement != "" && !strings.HasSuffix(statement, " NOLOGIN NOINHERIT") { // the server of a test has those roles, and a database keyward
				dbtest.Exec(t, server.DSN(), strings.Replace(statement, "DATABASE keyward ", "DATABASE documented ", 1))
			}
		}
	}
	as := func(login string) string {
		u, _ := url.Parse(server.DSN())
		u.User, u.Path = url.UserPassword(login, "change-me"), "/documented"
		return u.String()
	}
	env := environ{
		"KEYWARD_DATABASE_URL": as("keyward_migrator"), "KEYWARD_MASTER_KEY": "file:" + filepath.Join(t.TempDir(), "master.json"),
		"KEYWARD_ADDR": "127.0.0.1:0", "KEYWARD_PUBLIC_URL": "https://keys.example.com",
	}
	keyward(t, env, "master", "init").want(t, exitOK)
	keyward(t, env, "migrate", "up").want(t, exitOK)
	keyward(t, env, "recover").want(t, exitOK, "Roles, privileges, policies and triggers that were restored: 0.")
	env["KEYWARD_DATABASE_URL"] = as("keyward_service")
	r := launch(t, env, "serve", "--log-format=text")
	r.until(t, `leadership acquired`)
	list, ok := findings(t, env)
	for _, f := range list {
		if f.Verdict != "ok" && f.Check != "TLS" {
			t.Errorf("doctor: %v", f)
		}
	}
	if !ok {
		t.Error("doctor fails")
	}
	dump := exec.CommandContext(t.Context(), postgresProgram(t, "pg_dump"), "--format=custom", "--file="+filepath.Join(t.TempDir(), "keyward.dump"), as("keyward_backup"))
	if out, err := dump.CombinedOutput(); err != nil {
		t.Errorf("pg_dump: %v\n%s", err, out)
	}
}

// Each fault is found with the service's login, and what doctor prints mends it.
func TestDoctorMends(t *testing.T) {
	env := deployed(t)
	env["KEYWARD_PUBLIC_URL"] = "https://keys.example.com"
	super := env["KEYWARD_DATABASE_URL"]
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	login := servingLogin(t, super, "keyward_fix_")
	env["KEYWARD_DATABASE_URL"] = login
	u, _ := url.Parse(login)
	name, database := u.User.Username(), `"`+strings.TrimPrefix(u.Path, "/")+`"`
	if list, ok := findings(t, env); !ok {
		t.Fatalf("a healthy installation: %v", list)
	}
	for _, c := range []struct{ harm, check, detail string }{
		{"REVOKE keyward_public FROM " + name, "roles", "cannot take keyward_public"},
		{"REVOKE keyward_app, keyward_platform FROM " + name, "roles", "keyward_app, keyward_platform"},
		{"REVOKE INSERT ON public.keys FROM keyward_platform", "guards", "no grant public.keys keyward_platform INSERT"},
		{"REVOKE SELECT ON public.keyward_migrations FROM keyward_platform", "guards", "no grant public.keyward_migrations"},
		{"ALTER TABLE public.keys DISABLE TRIGGER USER", "guards", "no enabled trigger public.keys"},
		{"ALTER TABLE public.tenants DISABLE TRIGGER USER; ALTER TABLE public.webhooks DISABLE TRIGGER USER", "guards", "and "},
		{"GRANT SELECT ON public.data_keys TO keyward_public", "guards", "an added grant public.data_keys keyward_public SELECT"},
		{"DROP POLICY one_tenant ON public.keys", "guards", "no policy public.keys one_tenant"},
		{"ALTER DATABASE " + database + " SET default_transaction_read_only = on", "database", "read-only by default_transaction_read_only (database)"},
		{"ALTER ROLE " + name + " SET default_transaction_read_only = on", "writing", "read-only"},
		{"ALTER ROLE " + name + " SET standard_conforming_strings = off", "database", "standard_conforming_strings is off (user)"},
		{"SET session_replication_role = replica; UPDATE tenants SET feed_xid = (pg_current_xact_id()::text::bigint + 20000)::text::xid8", "transactions", "ahead of this one"},
		{"INSERT INTO leases (name, holder, term, expires_at, renewed_at) VALUES ('worker', 'gone', 1, now() - interval '1 hour', now() - interval '1 hour') ON CONFLICT (name) DO UPDATE SET renewed_at = excluded.renewed_at", "worker", "none has renewed its lease for 1h0m"},
		{"DELETE FROM public.keyward_migrations WHERE version_id = (SELECT max(version_id) FROM public.keyward_migrations)", "migrations", "1 is pending"},
	} {
		dbtest.Exec(t, super, c.harm)
		list, ok := findings(t, env)
		var fix []string
		for _, f := range list {
			fix = append(fix, f.Fix...)
		}
		if ok || !hasFinding(list, c.check, c.detail) || len(fix) == 0 {
			t.Errorf("after %s: ok=%t %v", c.harm, ok, list)
		}
		if c.check == "migrations" { // that migration was in fact applied, and goose would apply it again
			dbtest.Exec(t, super, "INSERT INTO public.keyward_migrations (version_id, is_applied) SELECT max(version_id) + 1, true FROM public.keyward_migrations")
			continue
		}
		for _, f := range fix {
			applyFix(t, env, super, f)
		}
		if list, ok := findings(t, env); !ok {
			t.Fatalf("after %s and %v: %v", c.harm, fix, list)
		}
	}
}

func hasFinding(list []finding, check, detail string) bool {
	for _, f := range list {
		if f.Verdict == "fail" && f.Check == check && strings.Contains(f.Text, detail) {
			return true
		}
	}
	return false
}

// applyFix does what an operator would: SQL as the owner, commands with the owner's
// URL, except those that run the service.
func applyFix(t *testing.T, env environ, super, fix string) {
	t.Helper()
	command, isCommand := strings.CutPrefix(fix, "keyward ")
	switch {
	case strings.HasSuffix(fix, ";"):
		dbtest.Exec(t, super, fix)
	case command == "worker":
		r := launch(t, env, "worker", "--log-format=text")
		r.until(t, `leadership acquired`)
		r.stop()
	case isCommand:
		own := maps.Clone(env)
		own["KEYWARD_DATABASE_URL"] = super
		keyward(t, own, strings.Fields(command)...).want(t, exitOK)
	default:
		t.Errorf("cannot apply %q", fix)
	}
}

// /readyz says that the database takes no writes, and doctor that it is a standby.
func TestReadOnlyDatabase(t *testing.T) {
	server := dbtest.NewServer(t)
	a := opened(t, server.DSN())
	dbtest.Exec(t, server.DSN(), "ALTER DATABASE "+`"`+databaseName(t, server.DSN())+`"`+" SET default_transaction_read_only = on")
	server.Restart() // sessions keep the settings they began with
	a.ready.at = a.ready.at.Add(-readyCacheTime * 2)
	if err := a.checkReady(t.Context())["database"]; err == nil || err.Error() != errReadOnly.Error() {
		t.Errorf("database: %v", err)
	}
	replica := dbtest.NewServer(t).Replica()
	env := environ{"KEYWARD_DATABASE_URL": replica.DSN()}
	keyward(t, env, "doctor").want(t, exitFailed, "FAIL  database", "it is a standby", "set KEYWARD_DATABASE_URL to the primary")
}

func databaseName(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// postgresProgram returns the newest of PostgreSQL's programs of this name. It
// skips t without one.
func postgresProgram(t *testing.T, name string) string {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}
