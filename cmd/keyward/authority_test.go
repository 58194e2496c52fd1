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
	} {
		dbtest.Exec(t, url, past+c.harm)
		keyward(t, deployed, "doctor").want(t, exitFailed, "FAIL  authority", c.said)
		dbtest.Exec(t, url, past+c.heal)
	}
	dbtest.Exec(t, url, "CREATE TABLE kept AS SELECT * FROM tenants WHERE slug = 'acme'")
	ok(t, env, "tenant", "update", "acme", "--name=Acme", "--issuer=https://acme.example")
	dbtest.Exec(t, url, past+"UPDATE tenants t SET issuer = k.issuer, issuer_name = k.issuer_name, updated_at = k.updated_at, mac = k.mac FROM kept k WHERE t.id = k.id")
	keyward(t, deployed, "doctor").want(t, exitFailed, "OK    authority", "rows of acme contradict its history: its settings")
}
