package main

import (
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

func TestDoctor(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "doctor").want(t, exitOK, "WARN  master key")
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	env["KEYWARD_PUBLIC_URL"] = "https://keys.example.com"
	keyward(t, env, "doctor").want(t, exitOK, "OK    configuration", "OK    migrations", "OK    clock", "OK    listening", "OK    master key",
		"OK    authority", "OK    keys", "OK    schedule", "OK    audit")
	url := env["KEYWARD_DATABASE_URL"]
	for _, c := range []struct{ harm, heal, said string }{
		{
			"ALTER TABLE keys NO FORCE ROW LEVEL SECURITY", "ALTER TABLE keys FORCE ROW LEVEL SECURITY",
			"FAIL  row security    not in force for tables [keys]",
		},
		{
			"UPDATE policies SET due_at = now() - interval '1 hour'", "UPDATE policies SET due_at = now() + interval '1 hour'",
			"FAIL  schedule        1 policy has been due",
		},
		{
			"SET session_replication_role = replica; UPDATE audit_events SET reason = 'changed' WHERE seq = 2",
			"SET session_replication_role = replica; UPDATE audit_events SET reason = NULL WHERE seq = 2",
			"FAIL  audit           the history of platform is broken at event 2",
		},
		{
			"SET session_replication_role = replica; UPDATE policies SET alg = 'ES384'",
			"SET session_replication_role = replica; UPDATE policies SET alg = 'ES256'",
			"FAIL  keys            not exactly one active and one standby key: platform ES384",
		},
		{
			"SET session_replication_role = replica; UPDATE keys SET state_event = state_event - 1 WHERE state = 'active'",
			"SET session_replication_role = replica; UPDATE keys SET state_event = state_event + 1 WHERE state = 'active'",
			"FAIL  audit           keys of platform contradict its history",
		},
	} {
		dbtest.Exec(t, url, c.harm)
		keyward(t, env, "doctor").want(t, exitFailed, c.said)
		dbtest.Exec(t, url, c.heal)
	}
	keyward(t, env, "doctor", "--all").want(t, exitOK)
}

func TestDoctorWithoutMuch(t *testing.T) {
	keyward(t, environ{"KEYWARD_DATABASE_URL": dbtest.Empty(t)}, "doctor").
		want(t, exitFailed, "FAIL  master key", "FAIL  migrations", "keyward migrate up")
	keyward(t, environ{"KEYWARD_DATABASE_URL": "postgres://keyward@127.0.0.1:1/x"}, "doctor").want(t, exitFailed, "FAIL  database")
	keyward(t, nil, "doctor").want(t, exitFailed, "FAIL  database", "KEYWARD_DATABASE_URL")
}
