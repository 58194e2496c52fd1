package main

import (
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

// doctor names each row that somebody wrote into the database, or put back there.
func TestDoctorNamesForgedRows(t *testing.T) {
	deployed := deployed(t)
	env := servedOn(t, deployed)
	url := deployed["KEYWARD_DATABASE_URL"]
	keyward(t, deployed, "doctor").want(t, exitOK, "OK    authority")
	const past = "SET session_replication_role = replica; "
	ok(t, deployed, "api-key", "create", "--tenant=acme", "--role=tenant_admin", "--name=maker")
	for _, c := range []struct{ name, harm, heal, said string }{
		{
			"a credential",
			`INSERT INTO api_keys (id, role, name, secret_hash, created_at) VALUES ('018f0000-0000-7000-8000-000000000001', 'platform_admin', '', sha256('mine'), now())`,
			`DELETE FROM api_keys WHERE id = '018f0000-0000-7000-8000-000000000001'`, "API key 018f0000-0000-7000-8000-000000000001 (platform_admin)",
		},
		{
			"an issuer", "UPDATE tenants SET issuer = 'https://evil.example' WHERE slug = 'acme'",
			"UPDATE tenants SET issuer = NULL WHERE slug = 'acme'", "(acme)",
		},
		{
			"a lifetime", "UPDATE policies SET purge_after_seconds = purge_after_seconds + 1",
			"UPDATE policies SET purge_after_seconds = purge_after_seconds - 1", "policy ES256 of tenant",
		},
		{
			"a default", "UPDATE policies SET is_default = false",
			"UPDATE policies SET is_default = true", "policy ES256 of tenant",
		},
		{
			"a maker", "CREATE TABLE made AS SELECT * FROM api_keys WHERE name = 'maker'; UPDATE api_keys SET creator_id = '7', revoked_at = now(), mac = NULL WHERE name = 'maker'",
			"UPDATE api_keys k SET creator_id = m.creator_id, revoked_at = NULL, mac = m.mac FROM made m WHERE k.id = m.id", "(tenant_admin)",
		},
		{
			"a domain", "INSERT INTO domains SELECT id, 'bank.example', repeat('A', 26), now(), now() FROM tenants WHERE slug = 'acme'",
			"DELETE FROM domains", "domain bank.example of tenant",
		},
		{
			"a session", "INSERT INTO console_sessions (token_hash, subject, subject_name, role, created_at, last_seen_at, expires_at) VALUES (sha256('mine'), 'me', 'me', 'platform_admin', now(), now(), now() + interval '1 hour')",
			"DELETE FROM console_sessions", "console session ",
		},
		{
			"a recovery", "INSERT INTO recoveries (epoch, at, operator) VALUES (9223372036854775807, now(), 'mallory')",
			"DELETE FROM recoveries", "recovery 9223372036854775807 by mallory",
		},
	} {
		dbtest.Exec(t, url, past+c.harm)
		keyward(t, deployed, "doctor").want(t, exitFailed, "FAIL  authority", c.said)
		dbtest.Exec(t, url, past+c.heal)
	}
	dbtest.Exec(t, url, "CREATE TABLE kept AS SELECT * FROM tenants WHERE slug = 'acme'")
	ok(t, env, "tenant", "update", "acme", "--name=Acme", "--issuer=https://acme.example")
	dbtest.Exec(t, url, past+"UPDATE tenants t SET issuer = k.issuer, issuer_name = k.issuer_name, updated_at = k.updated_at, mac = k.mac FROM kept k WHERE t.id = k.id")
	keyward(t, deployed, "doctor").want(t, exitFailed, "OK    authority", "rows of acme contradict its history: its settings")
	ok(t, env, "tenant", "update", "acme", "--name=Acme again")
	dbtest.Exec(t, url, "CREATE TABLE kept_policies AS SELECT * FROM policies")
	ok(t, env, "policy", "put", "EdDSA", "--tenant=acme", "--default", "--max-token-ttl=1h")
	dbtest.Exec(t, url, past+`UPDATE policies p SET max_token_ttl_seconds = k.max_token_ttl_seconds, updated_at = k.updated_at, mac = k.mac
		FROM kept_policies k WHERE p.tenant_id = k.tenant_id AND p.alg = k.alg`)
	keyward(t, deployed, "doctor").want(t, exitFailed, "OK    authority", "rows of acme contradict its history: policy EdDSA")
}
