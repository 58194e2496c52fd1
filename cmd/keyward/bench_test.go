package main

import (
	"net/url"
	"testing"
)

// Seeded rows pass all checks of doctor, and the worker continues with them.
func TestBenchSeed(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "bench", "seed", "--tenants=30", "--keys=5", "--events=17").want(t, exitOK, "30 tenants, 750 rows", "30 of them verified")
	keyward(t, env, "doctor", "--all").want(t, exitOK, "31 tenants with", "every policy has one active and one standby key", "nothing is overdue")

	keyward(t, env, "bench", "seed", "--tenants=1").want(t, exitUsage, "has tenants already", "--force")
	keyward(t, env, "bench", "seed", "--tenants=1", "--force").want(t, exitFailed, "--prefix")
	keyward(t, env, "bench", "seed", "--tenants=1", "--force", "--prefix=more").want(t, exitOK, "1 of them verified")
	keyward(t, env, "bench", "seed", "--tenants=1", "--force", "--events=11").want(t, exitUsage, "--events")
}

// Only a superuser may bypass the guards of the database.
func TestBenchSeedNeedsASuperuser(t *testing.T) {
	env := deployed(t)
	u, err := url.Parse(env["KEYWARD_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("role", "keyward_platform")
	u.RawQuery = q.Encode()
	env["KEYWARD_DATABASE_URL"] = u.String()
	keyward(t, env, "bench", "seed", "--tenants=1").want(t, exitFailed, "superuser", "KEYWARD_DATABASE_URL")
}
