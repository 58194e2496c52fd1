package main

import (
	"maps"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

// doctor names the live processes, and those whose clock is off or that do not hear.
func TestDoctorNamesProcesses(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "doctor").want(t, exitOK, "WARN  processes       none has been heard of")
	server := launch(t, maps.Clone(env), "serve", "--log-format=text")
	server.until(t, `msg=serving url=(\S+)`)
	keyward(t, env, "doctor").want(t, exitOK, "OK    processes       1 live: ", "(serve ", "all serve the latest changes")
	dbtest.Exec(t, env["KEYWARD_DATABASE_URL"], `INSERT INTO processes (id, name, kind, version, address, master_keys, clock_offset_microseconds, confirmed_until) VALUES
		(gen_random_uuid(), 'fast/1', 'worker', '1.0', '', '{}', 3600000000, '2999-01-01'), (gen_random_uuid(), 'deaf/1', 'serve', '1.0', ':80', '{}', 0, '2026-01-01')`)
	keyward(t, env, "doctor").want(t, exitFailed, "OK    processes       3 live: ", "deaf/1 (serve 1.0 at :80)",
		"FAIL  processes       the clock of fast/1 differs from the database's by 1h0m0s", "WARN  processes       deaf/1 has not confirmed")
}
