package db_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// attacker is a session of a login that has the serving roles and is no
// superuser.
type attacker struct {
	t    *testing.T
	conn *pgx.Conn
}

// newAttacker logs in. The schema evil belongs to the login; a database that
// lets it create one is the worst case.
func newAttacker(t *testing.T, dsn string) attacker {
	t.Helper()
	name, password := "keyward_attacker_"+strings.ToLower(rand.Text()), rand.Text()
	dbtest.Exec(t, dsn, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s';
		GRANT keyward_app, keyward_platform, keyward_public TO %[1]s; CREATE SCHEMA evil AUTHORIZATION %[1]s`, name, password))
	t.Cleanup(func() { dbtest.Exec(t, dsn, "DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name) })
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.User, cfg.Password = name, password
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return attacker{t, conn}
}

// shadow puts objects with the names of ours before ours: in pg_temp, which
// precedes every schema for tables and types, and in a schema of the search_path
// that precedes pg_catalog, for functions and operators.
func (a attacker) shadow() {
	a.t.Helper()
	var tables []string
	for table := range owned {
		tables = append(tables, table)
	}
	for _, table := range append(tables, shared...) {
		a.must(fmt.Sprintf(`CREATE TEMP TABLE %[1]s AS SELECT * FROM public.%[1]s WHERE false; GRANT ALL ON pg_temp.%[1]s TO PUBLIC`, table))
	}
	a.must(`
		CREATE FUNCTION evil.keyward_refuse(text, text) RETURNS void LANGUAGE sql AS '';
		CREATE FUNCTION evil.keyward_tenant() RETURNS uuid LANGUAGE sql AS 'SELECT ''` + b.String() + `''::uuid';
		CREATE FUNCTION evil.keyward_guard_windows(public.tenants, public.policies) RETURNS void LANGUAGE sql AS '';
		CREATE FUNCTION evil.pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS 'SELECT ''3''::xid8';
		CREATE FUNCTION evil.bool_and(boolean) RETURNS boolean LANGUAGE sql AS 'SELECT true';
		CREATE FUNCTION evil.left(text, integer) RETURNS text LANGUAGE sql AS 'SELECT ''key.''';
		GRANT USAGE ON SCHEMA evil TO PUBLIC`)
	for _, typ := range []string{"text", "uuid", "bigint", "integer", "bytea", "xid8", "timestamptz"} {
		a.must(fmt.Sprintf(`
			CREATE FUNCTION evil.yes(%[1]s, %[1]s) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
			CREATE FUNCTION evil.no(%[1]s, %[1]s) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
			CREATE OPERATOR evil.= (LEFTARG = %[1]s, RIGHTARG = %[1]s, FUNCTION = evil.yes);
			CREATE OPERATOR evil.<> (LEFTARG = %[1]s, RIGHTARG = %[1]s, FUNCTION = evil.no);
			CREATE OPERATOR evil.< (LEFTARG = %[1]s, RIGHTARG = %[1]s, FUNCTION = evil.no);
			CREATE OPERATOR evil.> (LEFTARG = %[1]s, RIGHTARG = %[1]s, FUNCTION = evil.no)`, typ))
	}
}

func (a attacker) must(sql string) {
	a.t.Helper()
	if _, err := a.conn.Exec(a.t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		a.t.Fatalf("%.200s: %v", sql, err)
	}
}

// searchPaths of an attack: as it comes, with pg_temp before every schema, and one
// with a schema of functions and operators before pg_catalog.
var searchPaths = []string{"public", "pg_temp, evil, pg_catalog, public"}

// commit runs statements as a role in one transaction. The search_path is in force
// for all of it, but the statements name everything with its schema.
func (a attacker) commit(path, role, sql string) error {
	return pgx.BeginFunc(a.t.Context(), a.conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(a.t.Context(), "SET LOCAL search_path = "+path+"; SET LOCAL ROLE "+role+"; "+sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// Whoever has the serving roles may write rows, but no object of a session
// makes a guard look elsewhere.
func TestGuardsCannotBeShadowed(t *testing.T) {
	dsn := dbtest.New(t)
	seed(t, dsn)
	dbtest.Exec(t, dsn, `SET session_replication_role = replica;
		UPDATE tenants SET slug = 'platform' WHERE id = '`+b.String()+`'`)
	evil := newAttacker(t, dsn)
	evil.shadow()
	// What a guard that looks into pg_temp would find.
	evil.must(`INSERT INTO pg_temp.audit_events SELECT * FROM json_populate_recordset(NULL::pg_temp.audit_events, '` + fakeEvents() + `');
		INSERT INTO pg_temp.tenants (id, slug, status, audit_seq, audit_hash) VALUES ('` + a.String() + `', 'platform', 'active', 9, sha256('2'))`)
	head := "audit_seq = audit_seq OPERATOR(pg_catalog.+) 1, audit_hash = pg_catalog.sha256('2')"
	for _, c := range []struct{ name, rule, sql string }{
		{"a key moves", "keys_move_is_audited", "UPDATE public.keys SET state = 'revoked', revoked_at = pg_catalog.now(), revocation_reason = 'compromised', sealed_private = NULL, data_key_version = NULL, state_event = 2"},
		{"a key moves where none does", "keys_transition", "UPDATE public.keys SET state = 'purged', purged_at = pg_catalog.now(), revoked_at = pg_catalog.now(), revocation_reason = 'compromised', public_jwk = NULL, sealed_private = NULL, data_key_version = NULL, state_event = 2"},
		{"a key gets another past", "keys_history", "UPDATE public.keys SET alg = 'ES384'"},
		{"a credential appears", "api_keys_change_is_audited", "INSERT INTO public.api_keys (id, role, name, secret_hash, created_at) VALUES ('" + b.String() + "', 'platform_admin', '', pg_catalog.sha256('mine'), pg_catalog.now())"},
		{"a workload identity appears", "workload_identities_change_is_audited", "INSERT INTO public.workload_identities (tenant_id, id, name, issuer, audience, rules, role, max_token_lifetime_seconds, created_at, creator_type, creator_id, creator_name) VALUES ('" + a.String() + "', '" + b.String() + "', 'ci', 'https://ci.example', 'keyward', '[]', 'tenant_admin', 3600, pg_catalog.now(), 'operator', '', '')"},
		{"a workload identity gets another issuer", "workload_identities_identity", "UPDATE public.workload_identities SET issuer = 'https://evil.example'"},
		{"a credential gets another secret", "api_keys_identity", "UPDATE public.api_keys SET secret_hash = pg_catalog.sha256('mine')"},
		{"a domain is verified", "domains_change_is_audited", "UPDATE public.domains SET verified_at = pg_catalog.now() WHERE tenant_id OPERATOR(pg_catalog.=) '" + a.String() + "'"},
		{"a domain is verified at birth", "domains_birth", "INSERT INTO public.domains VALUES ('" + a.String() + "', 'x.example', pg_catalog.repeat('t', 26), pg_catalog.now(), pg_catalog.now())"},
		{"a policy changes", "policies_change_is_audited", "UPDATE public.policies SET max_published_keys = 9"},
		{"a policy breaks its windows", "policies_lead_covers_caches", "UPDATE public.policies SET publish_lead_seconds = 1"},
		{"a tenant loses its default", "policies_has_default", "UPDATE public.policies SET is_default = false"},
		{"a tenant changes", "tenants_change_is_audited", "UPDATE public.tenants SET issuer = 'https://evil.example/' OPERATOR(pg_catalog.||) slug"},
		{"a tenant changes with its head", "tenants_audit_head_exists", "UPDATE public.tenants SET issuer = 'https://evil.example/' OPERATOR(pg_catalog.||) slug, " + head},
		{"a tenant gets another id", "tenants_identity", "UPDATE public.tenants SET slug = slug OPERATOR(pg_catalog.||) 'x'"},
		{"a rendered set is replaced", "tenants_change_is_audited", "UPDATE public.tenants SET jwks = 'mine'"},
		{"a head goes back", "tenants_audit_head_moves_on", "UPDATE public.tenants SET audit_hash = pg_catalog.sha256('x')"},
		{"an event continues nothing", "audit_events_chain", "UPDATE public.tenants SET " + head + `; INSERT INTO public.audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, details, prev_hash, hash)
			VALUES ('` + a.String() + `', 2, pg_catalog.now(), 'tenant.updated', 'operator', '', '', '{}', pg_catalog.sha256('forged'), pg_catalog.sha256('2'))`},
		{"an event beyond the head", "audit_events_reach_head", `INSERT INTO public.audit_events (tenant_id, seq, at, action, actor_type, actor_id, actor_name, details, prev_hash, hash)
			VALUES ('` + a.String() + `', 2, pg_catalog.now(), 'tenant.updated', 'operator', '', '', '{}', pg_catalog.sha256('1'), pg_catalog.sha256('2'))`},
		{"a master key retires that wraps", "master_keys_still_wraps", "UPDATE public.master_keys SET retired_at = pg_catalog.now(), is_current = false"},
		{"a master key is replaced", "master_keys_identity", "UPDATE public.master_keys SET key_check = 'mine'"},
		{"a data key goes that seals", "data_keys_still_seals", "UPDATE public.data_keys SET destroyed_at = pg_catalog.now(), wrapped = NULL, master_key_id = NULL, is_current = false"},
		{"a data key of no master key", "data_keys_master_key_is_live", "UPDATE public.data_keys SET master_key_id = '" + b.String() + "'"},
		{"a webhook hears of all", "webhooks_all_is_platform", "INSERT INTO public.webhooks (tenant_id, id, of_all, url, actions, created_at, updated_at, place_seq) VALUES ('" + a.String() + "', '" + b.String() + "', true, 'https://evil.example', '{}', pg_catalog.now(), pg_catalog.now(), 1)"},
		{"a webhook goes elsewhere", "webhooks_change_is_audited", "UPDATE public.webhooks SET url = 'https://evil.example'"},
		{"an approval is given", "approvals_change_is_audited", "UPDATE public.approvals SET status = 'approved', decider_type = 'operator', decider_id = 'x', decider_name = '', decided_at = pg_catalog.now()"},
	} {
		for _, path := range searchPaths {
			err := evil.commit(path, "keyward_platform", c.sql)
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.ConstraintName != c.rule {
				t.Errorf("%s under %s: %v, want it refused by %s", c.name, path, err, c.rule)
			}
		}
	}
	evil.seesOneTenant()
}

// seesOneTenant: row level security does not ask the session's keyward_tenant.
func (e attacker) seesOneTenant() {
	e.t.Helper()
	err := e.commit(searchPaths[1], "keyward_app", "SELECT pg_catalog.set_config('keyward.tenant_id', '"+a.String()+"', true); "+
		"DO $$ BEGIN IF (SELECT pg_catalog.count(*) FROM public.keys) OPERATOR(pg_catalog.<>) 1 THEN RAISE 'another tenant''s keys are seen'; END IF; END $$")
	if err != nil {
		e.t.Error(err)
	}
}

// fakeEvents would allow every change that TestGuardsCannotBeShadowed tries.
func fakeEvents() string {
	events := []string{}
	for i, action := range []string{
		"key.revoked", "key.purged", "api_key.created", "workload_identity.created", "policy.updated", "tenant.updated", "webhook.created", "webhook.updated", "approval.approved",
	} {
		for _, id := range []string{a.String(), b.String()} {
			events = append(events, fmt.Sprintf(`{"tenant_id":"%[1]s","seq":%[2]d,"at":"2030-01-01T00:00:00Z","action":"%[3]s","actor_type":"operator","actor_id":"","actor_name":"",
				"kid":"kid","from_state":"standby","to_state":"%[4]s","details":{"id":"%[1]s","alg":"ES256","role":"platform_admin","operation":"purge"},
				"prev_hash":"\\x","hash":"\\x%[5]s","xid":"3","feed_xid":"3"}`, id, i+2, action, strings.TrimPrefix(action, "key."), strings.Repeat("00", 32)))
		}
	}
	return "[" + strings.Join(events, ",") + "]"
}

// Every function of ours has a fixed search_path, in which pg_temp is last.
func TestFunctionsFixTheirSearchPath(t *testing.T) {
	d := open(t, 1)
	rows, err := d.Pool().Query(t.Context(), `SELECT p.oid::regprocedure::text, coalesce(array_to_string(p.proconfig, ';'), '')
		FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]string{}
	var name, config string
	if _, err := pgx.ForEachRow(rows, []any{&name, &config}, func() error { functions[name] = config; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(functions) < 20 {
		t.Errorf("only %d functions are there: %v", len(functions), functions)
	}
	for name, config := range functions {
		if config != "search_path=pg_catalog, pg_temp" {
			t.Errorf("%s has %q, want SET search_path = pg_catalog, pg_temp", name, config)
		}
	}
}

// Where the migrating login owns the database, no other login gets temporary
// tables there, nor creates anything in our schema.
func TestStrangersCreateNothing(t *testing.T) {
	dsn := dbtest.Empty(t)
	if err := db.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	e := newAttacker(t, dsn)
	for _, sql := range []string{"CREATE TEMP TABLE audit_events ()", "CREATE TABLE public.audit ()"} {
		for _, role := range []string{"none", "keyward_platform", "keyward_app", "keyward_public"} {
			_, err := e.conn.Exec(t.Context(), "SET ROLE "+role+"; "+sql, pgx.QueryExecModeSimpleProtocol)
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != "42501" {
				t.Errorf("%s: %s: %v, want permission denied", role, sql, err)
			}
		}
	}
}

// A login that does not own the database migrates it all the same.
func TestMigrateByALoginThatIsNotTheOwner(t *testing.T) {
	dsn := dbtest.Empty(t)
	name, password := "keyward_migrator_"+strings.ToLower(rand.Text()), rand.Text()
	dbtest.Exec(t, dbtest.New(t), "SELECT 1") // the roles exist
	dbtest.Exec(t, dsn, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'; GRANT keyward_owner, keyward_app, keyward_platform, keyward_public TO %[1]s;
		ALTER SCHEMA public OWNER TO %[1]s`, name, password))
	t.Cleanup(func() {
		dbtest.Exec(t, dsn, "REASSIGN OWNED BY "+name+" TO CURRENT_USER; DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name)
	})
	if err := db.Migrate(t.Context(), withLogin(t, dsn, name, password)); err != nil {
		t.Error(err)
	}
}

// withLogin is a URL for another login.
func withLogin(t *testing.T, dsn, name, password string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := url.Values{"host": {cfg.Host}, "port": {fmt.Sprint(cfg.Port)}, "sslmode": {"disable"}}
	return "postgres://" + url.UserPassword(name, password).String() + "@/" + cfg.Database + "?" + q.Encode()
}
