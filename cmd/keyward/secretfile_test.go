package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kong"
)

// Every secret can be in a file that NAME_FILE names.
func TestSecretsFromFiles(t *testing.T) {
	env := deployed(t)
	write := func(content string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	url := env["KEYWARD_DATABASE_URL"]
	delete(env, "KEYWARD_DATABASE_URL")
	for _, ending := range []string{"", "\n", "\r\n"} {
		env["KEYWARD_DATABASE_URL_FILE"] = write(url + ending)
		keyward(t, env, "migrate", "status").want(t, exitOK)
	}
	for name, c := range map[string]struct{ file, said string }{
		"no file":   {filepath.Join(t.TempDir(), "none"), "no such file"},
		"empty":     {write("\n"), "a file with the secret in one line"},
		"two lines": {write(url + "\n" + url + "\n"), "a file with the secret in one line"},
		"directory": {t.TempDir(), "KEYWARD_DATABASE_URL_FILE"},
	} {
		bad := maps.Clone(env)
		bad["KEYWARD_DATABASE_URL_FILE"] = c.file
		if r := keyward(t, bad, "migrate", "status"); r.code != exitUsage {
			t.Errorf("%s: exit code %d: %s", name, r.code, r.stderr)
		} else {
			r.want(t, exitUsage, "KEYWARD_DATABASE_URL_FILE", c.said)
		}
	}
	env["KEYWARD_DATABASE_URL"] = url
	keyward(t, env, "migrate", "status").want(t, exitUsage, "KEYWARD_DATABASE_URL and KEYWARD_DATABASE_URL_FILE are both set")
}

// Which settings are secrets is said once, at each.
func TestEverySecretHasAFile(t *testing.T) {
	k, err := kong.New(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	secret := map[string]bool{}
	for _, leaf := range k.Model.Leaves(true) {
		for _, flags := range leaf.AllFlags(false) {
			for _, f := range flags {
				secret[variableOf(f.Tag)] = f.Tag.Has("secret")
			}
		}
	}
	for _, name := range []string{
		"KEYWARD_DATABASE_URL", "KEYWARD_LISTEN_DATABASE_URL", "KEYWARD_READ_DATABASE_URL", "KEYWARD_API_KEY", "KEYWARD_CONSOLE_OIDC_CLIENT_SECRET",
	} {
		if !secret[name] {
			t.Errorf("%s may hold a secret, and cannot be read from a file", name)
		}
	}
}
