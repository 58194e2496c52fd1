package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Keys leave in the forms in which they come, and come back the same.
func TestTenantExport(t *testing.T) {
	database := deployed(t)
	env := servedOn(t, database)
	ask := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	operator := maps.Clone(env)
	maps.Copy(operator, database)
	_, public, jwk, _ := onDisk(t, newKey(t), "mine")
	keyward(t, env, "key", "import", "--tenant=acme", "--jwks="+jwk, "--alg=EdDSA", "--as=active").want(t, exitOK)
	keyward(t, env, "key", "import", "--tenant=acme", "--pem="+public, "--alg=EdDSA", "--kid=old").want(t, exitOK)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	kids := func(tenant string) (all []string) {
		for _, k := range imported(t, env, tenant) {
			all = append(all, strings.Fields(k)[0])
		}
		return all
	}
	published := keysOf(t, ask, "acme")
	slices.Sort(published)
	moveIn := func(tenant string, args ...string) {
		t.Helper()
		ask.ask(t, "POST", "/v1/tenants", `{"slug":"`+tenant+`","policies":[{"alg":"EdDSA","default":true}]}`, true)
		keyward(t, env, slices.Concat([]string{"import-from"}, args, []string{"--yes", "--tenant=" + tenant})...).want(t, exitOK)
		if got := kids(tenant); !slices.Equal(got, published) {
			t.Errorf("%s has %q, want %q", tenant, got, published)
		}
	}

	export := func(env environ, flags ...string) result {
		return keyward(t, env, append([]string{"tenant", "export", "--tenant=acme"}, flags...)...)
	}
	export(env, "--format=nestjs-jwks", at("nest")).want(t, exitOK, "keys of acme")
	moveIn("nest", "nestjs-jwks", at("nest"))
	var metadata struct {
		Keys []struct {
			KID, Status          string
			CreatedAt, ExpiresAt float64
			DeprecatedAt         *float64
			KeyPath              string
		}
	}
	readJSON(t, at("nest/metadata.json"), &metadata)
	for _, k := range metadata.Keys {
		if (k.KID == "mine") != (k.Status == "active") || k.CreatedAt < 1e12 || k.ExpiresAt <= k.CreatedAt || (k.Status == "active") != (k.DeprecatedAt == nil) {
			t.Errorf("%+v", k)
		}
		if _, err := os.Stat(k.KeyPath); err != nil {
			t.Error(err)
		}
	}
	export(env, "--format=jwks", at("jwks")).want(t, exitOK)
	moveIn("jwks", "jwk-file", at("jwks/jwks.json"))
	export(env, "--format=pem", at("pem")).want(t, exitOK)
	keyward(t, env, "key", "import", "--tenant=jwks", "--pem="+at("pem/mine.pub.pem"), "--alg=EdDSA", "--kid=again", "--dry-run").want(t, exitOK)
	wantNoPrivate(t, dir)

	export(env, "--format=pem", at("pem")).want(t, exitFailed, "is not empty")
	export(operator, "--format=jwks", "--private", at("secret")).want(t, exitUsage, "--yes")
	export(operator, "--format=nestjs-jwks", "--private", "--yes", at("secret")).want(t, exitUsage, "--private")
	export(env, "--format=jwks", "--private", "--yes", at("secret")).want(t, exitUsage, "KEYWARD_DATABASE_URL")
	if strings.Contains(string(ask.ask(t, "GET", "/v1/tenants/acme/audit", "", true)), "key.exported") {
		t.Error("the history has an export that was refused")
	}
	export(operator, "--format=jwks", "--private", "--yes", "--reason=leaving", at("secret")).want(t, exitOK)
	export(operator, "--format=pem", "--private", "--yes", at("secret-pem")).want(t, exitOK)
	if n := strings.Count(string(ask.ask(t, "GET", "/v1/tenants/acme/audit?action=key.exported", "", true)), `"leaving"`); n != 2 {
		t.Errorf("the history has %d exported keys, want the active and the standby one", n)
	}
	keyward(t, operator, "audit", "verify", "--tenant=acme").want(t, exitOK)
	moveIn("private", "jwk-file", at("secret/jwks.json"), "--as=active")
	if r := keyward(t, env, "token", "sign", "--tenant=private", "--json"); !strings.Contains(r.stdout, `"mine"`) {
		t.Errorf("another key signs: %s%s", r.stdout, r.stderr)
	}
	keyward(t, env, "key", "import", "--tenant=nest", "--pem="+at("secret-pem/mine.pem"), "--alg=EdDSA", "--kid=again", "--dry-run").want(t, exitOK, "would be standby")
	if info, err := os.Stat(at("secret/jwks.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}

	keyward(t, env, "key", "import", "--tenant=acme", "--pem="+public, "--alg=EdDSA", "--kid=a/../b").want(t, exitOK)
	export(env, "--format=nestjs-jwks", at("no")).want(t, exitFailed, "nothing was written", "a/../b")
	export(env, "--format=pem", at("odd")).want(t, exitOK)
	var list struct{ Keys []struct{ KID, File string } }
	readJSON(t, at("odd/keys.json"), &list)
	for _, k := range list.Keys {
		if _, err := os.Stat(filepath.Join(at("odd"), filepath.Base(k.File))); err != nil || filepath.Base(k.File) != k.File {
			t.Errorf("%+v: %v", k, err)
		}
	}
	keyward(t, operator, "tenant", "export", "--tenant=platform", "--format=pem", "--private", "--yes", at("platform")).want(t, exitFailed, "platform")
}

// keysOf returns the kids of a tenant's JWKS.
func keysOf(t *testing.T, ask *recorder, tenant string) (kids []string) {
	t.Helper()
	var set struct{ Keys []struct{ KID string } }
	unmarshal(t, ask.ask(t, "GET", "/t/"+tenant+"/.well-known/jwks.json", "", false), &set)
	for _, k := range set.Keys {
		kids = append(kids, k.KID)
	}
	return kids
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wantNoPrivate demands that no file below a directory has a private key.
func wantNoPrivate(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "PRIVATE") || strings.Contains(string(text), `"d":`) {
			t.Errorf("%s has a private key", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
