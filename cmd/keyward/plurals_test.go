package main

import (
	"path/filepath"
	"regexp"
	"testing"
)

// What commands say of one thing is in the singular.
func TestOneThingIsNotSeveral(t *testing.T) {
	wrong := regexp.MustCompile(`\b1 (?:[a-z]+ ){0,2}(?:key|tenant|event|tenant|policie|migration|transaction|credential|verifier|connection|part|row|attempt|histor(?:ie)?|data key|day)s\b|\b1 [a-zA-Z ]+ (?:are|were|have)\b`)
	env := deployed(t)
	kept := filepath.Join(t.TempDir(), "kept.json")
	check := func(env environ, args ...string) {
		r := keyward(t, env, args...)
		if r.code != exitOK && args[0] != "doctor" {
			t.Errorf("keyward %q: exit code %d: %s", args, r.code, r.stderr)
		}
		if m := wrong.FindString(r.stdout + r.stderr); m != "" {
			t.Errorf("keyward %q says %q:\n%s%s", args, m, r.stdout, r.stderr)
		}
	}
	check(env, "master", "rotate", "--full-speed")
	check(env, "master", "prune")
	check(env, "doctor", "--all")
	check(env, "recover")
	check(env, "bench", "seed", "--tenants=1", "--keys=2", "--events=6", "--prefix=one")
	served := servedOn(t, env)
	key := onlyKey(t)
	for _, args := range [][]string{
		{"import-from", "oauth2-server", key, "--tenant=acme", "--as=verify-only", "--dry-run"},
		{"import-from", "oauth2-server", key, "--tenant=acme", "--as=verify-only", "--keep-for=24h", "--yes"},
		{"tenant", "export", "--tenant=acme", "--format=pem", t.TempDir()},
		{"key", "revoke-all", "--tenant=acme", "--reason=superseded", "--dry-run"},
		{"key", "purge", "--tenant=acme", "--yes"},
		{"audit", "verify", "--tenant=acme"},
		{"audit", "checkpoint", "--all", "--out=" + kept},
		{"tenant", "delete", "acme", "--yes"},
	} {
		check(served, args...)
	}
}

func onlyKey(t *testing.T) string {
	t.Helper()
	private, _, _, _ := onDisk(t, newKey(t), "old")
	return private
}
