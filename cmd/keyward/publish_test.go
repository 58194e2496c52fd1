package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/jwks"
)

// admin calls a service's admin API.
type admin struct {
	t        *testing.T
	url, key string
}

// apiKey returns a platform_admin's credential.
func apiKey(t *testing.T, env environ) string {
	t.Helper()
	return regexp.MustCompile(`kw_\w+`).FindString(keyward(t, env, "api-key", "create", "--role=platform_admin", "--name=test").stdout)
}

// startService starts keyward serve, with a platform_admin's credential.
func startService(t *testing.T, env environ) (*running, admin) {
	t.Helper()
	key := apiKey(t, env)
	r := launch(t, env, "serve", "--log-format=text")
	return r, admin{t, r.until(t, `msg=serving url=(\S+)`)[1], key}
}

// do makes a request and returns the body of its answer, which must be a success.
func (a admin) do(method, path, body string) string {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		a.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, text, err)
	}
	return string(text)
}

// comes waits until a condition holds.
func comes(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// The directory has, byte for byte, what the service answers, after each change; a pinned
// verifier accepts the signed set from it; a deleted tenant is gone, and a service that
// starts later removes one that was deleted before.
func TestPublishToADirectory(t *testing.T) {
	env, dir := deployed(t), t.TempDir()
	env["KEYWARD_PUBLISH"] = "file://" + dir
	r, a := startService(t, env)
	file := func(path string) string {
		body, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(body)
	}
	a.do("POST", "/v1/tenants", `{"slug":"acme"}`)
	a.do("POST", "/v1/tenants", `{"slug":"globex"}`)
	var first struct {
		Keys []struct{ Kid string }
	}
	if err := json.Unmarshal([]byte(a.do("GET", "/t/acme/.well-known/jwks.json", "")), &first); err != nil {
		t.Fatal(err)
	}
	verifier, err := jwks.New(jwks.Config{
		Local: jwks.File(filepath.Join(dir, "t/acme/.well-known/jwks.jwt")), MaxAge: time.Nanosecond,
		Pin: &jwks.Pin{Thumbprints: []string{first.Keys[0].Kid}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(){
		func() {},
		func() { a.do("POST", "/v1/tenants/acme/keys/rotate", `{}`) },
		func() { a.do("POST", "/v1/tenants/acme/keys/revoke", `{"reason":"compromised","mode":"standby"}`) },
		func() { a.do("PATCH", "/v1/tenants/acme", `{"status":"suspended"}`) },
	} {
		change()
		for _, path := range []string{
			"t/acme/.well-known/jwks.json", "t/acme/.well-known/openid-configuration", ".well-known/oauth-authorization-server/t/acme",
			"t/globex/.well-known/jwks.json", ".well-known/jwks.json", ".well-known/openid-configuration",
		} {
			served := a.do("GET", "/"+path, "")
			comes(t, path+" is published", func() bool { return file(path) == served })
		}
		var now struct {
			Keys []struct{ Kid string }
		}
		if err := json.Unmarshal([]byte(a.do("GET", "/t/acme/.well-known/jwks.json", "")), &now); err != nil {
			t.Fatal(err)
		}
		comes(t, "the signed set is published", func() bool {
			keys, err := verifier.Keys(t.Context())
			return err == nil && len(keys) == len(now.Keys) && keys[0].ID() == now.Keys[0].Kid
		})
	}
	a.do("DELETE", "/v1/tenants/acme", "")
	comes(t, "the deleted tenant is gone", func() bool {
		_, err := os.Stat(filepath.Join(dir, "t/acme"))
		_, other := os.Stat(filepath.Join(dir, ".well-known/oauth-authorization-server/t/acme"))
		return errors.Is(err, fs.ErrNotExist) && errors.Is(other, fs.ErrNotExist)
	})
	doctor := keyward(t, env, "doctor")
	if !strings.Contains(doctor.stdout, "file://"+dir+" can be written") {
		t.Errorf("doctor says nothing about it: %s", doctor.stdout)
	}
	if code := r.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	delete(env, "KEYWARD_PUBLISH")
	without, b := startService(t, env)
	b.do("DELETE", "/v1/tenants/globex", "")
	without.stop()
	if file("t/globex/.well-known/jwks.json") == "" {
		t.Error("removed by a service that does not publish")
	}
	env["KEYWARD_PUBLISH"] = "file://" + dir
	startService(t, env)
	comes(t, "the tenant that was deleted meanwhile is gone", func() bool { return file("t/globex/.well-known/jwks.json") == "" })
}

// doctor names what is not published, and why.
func TestDoctorNamesWhatIsNotPublished(t *testing.T) {
	env, dir := deployed(t), t.TempDir()
	env["KEYWARD_PUBLISH"] = "file://" + dir
	if err := os.WriteFile(filepath.Join(dir, "t"), nil, 0o600); err != nil { // where a directory must be
		t.Fatal(err)
	}
	_, a := startService(t, env)
	a.do("POST", "/v1/tenants", `{"slug":"acme"}`)
	comes(t, "doctor names it", func() bool {
		out := keyward(t, env, "doctor").stdout
		return strings.Contains(out, "tenant acme is not published since") && strings.Contains(out, "t/acme/.well-known/jwks.json")
	})
}
