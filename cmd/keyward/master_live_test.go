package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/seal"
)

// A rotation of the master key refuses while a live process cannot open the new version,
// names it and changes nothing; once it can, or is gone, or with --force, it rotates.
func TestMasterRotateNamesWhoLacksTheVersion(t *testing.T) {
	env := deployed(t)
	tenants(t, env, "a")
	register := func(name, age string, versions ...string) {
		dbtest.Exec(t, env["KEYWARD_DATABASE_URL"], `INSERT INTO processes (id, name, kind, version, address, master_keys, clock_offset_microseconds, confirmed_until, heard_at)
			VALUES ($1, $2, 'serve', '1', '', $3, 0, now() + interval '1 hour', now() + $4::interval) ON CONFLICT (id) DO UPDATE SET master_keys = EXCLUDED.master_keys, heard_at = EXCLUDED.heard_at`,
			uuid.NewSHA1(uuid.Nil, []byte(name)), name, versions, age)
	}
	file := strings.TrimPrefix(env["KEYWARD_MASTER_KEY"], "file:")
	before := masters(t, env)
	register("elsewhere/1", "1 hour", before[0][1])
	register("gone/1", "-11 seconds", "none")
	keyward(t, env, "master", "rotate").want(t, exitFailed, "elsewhere/1", "master add")
	if after := masters(t, env); len(after) != len(before) {
		t.Errorf("%v became %v", before, after)
	}
	ring, err := seal.Open(t.Context(), "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	register("elsewhere/1", "1 hour", ring.Versions()...) // the file was copied there
	keyward(t, env, "master", "rotate").want(t, exitOK, "1 data key is wrapped by version "+ring.Newest())
	keyward(t, env, "master", "rotate").want(t, exitFailed, "elsewhere/1")
	keyward(t, env, "master", "rotate", "--to", "file:"+filepath.Join(t.TempDir(), "new.json")).want(t, exitFailed, "elsewhere/1")
	keyward(t, env, "master", "rotate", "--force").want(t, exitOK, "1 data key is wrapped by")
}
