package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

// A dump restored without owners and privileges, as on a server that lacks the
// roles, is made whole by recover.
func TestRecoverAfterARestore(t *testing.T) {
	env := deployed(t)
	env["KEYWARD_PUBLIC_URL"] = "https://keys.example.com"
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	file, restored := filepath.Join(t.TempDir(), "keyward.dump"), dbtest.Empty(t)
	for _, c := range [][]string{
		{"pg_dump", "--format=custom", "--file=" + file, env["KEYWARD_DATABASE_URL"]},
		{"pg_restore", "--no-owner", "--no-privileges", "--dbname=" + restored, file},
	} {
		if out, err := exec.CommandContext(t.Context(), postgresProgram(t, c[0]), c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c[0], err, out)
		}
	}
	env["KEYWARD_DATABASE_URL"] = restored
	keyward(t, env, "doctor").want(t, exitFailed, "FAIL  guards", "fix:  keyward recover")
	keyward(t, env, "recover").want(t, exitOK, "ALTER TABLE public.keys OWNER TO keyward_owner;", "were restored")
	keyward(t, env, "doctor", "--all").want(t, exitOK, "OK    guards", "OK    writing", "OK    audit")
	keyward(t, env, "recover").want(t, exitOK, "0 roles")
}
