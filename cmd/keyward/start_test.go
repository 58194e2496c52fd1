package main

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/seal/kmstest"
)

// A service that starts while PostgreSQL is away or hangs waits for it, says so once and
// to whoever asks for its health, ends at once if it is told to, and becomes the service
// on the same addresses.
func TestStartWhilePostgreSQLIsAway(t *testing.T) {
	server := dbtest.NewServer(t)
	manager := newServiceManager(t)
	env := environ{"KEYWARD_DATABASE_URL": server.DSN(), "KEYWARD_MASTER_KEY": "file:" + filepath.Join(t.TempDir(), "master.json"), "KEYWARD_ADDR": "127.0.0.1:0"}
	shown.Database(t, server.DSN(), func() string { return env["KEYWARD_MASTER_KEY"] })
	keyward(t, env, "master", "init").want(t, exitOK, "Created")
	env["KEYWARD_ADMIN_ADDR"] = "127.0.0.1:0"

	server.Stop()
	serve := launch(t, env, "serve", "--no-worker", "--migrate", "--log-format=text")
	addrs := serve.until(t, `cannot be completed: waiting.* addr=(\S+) admin_addr=(\S+)`)
	manager.until(t, "STATUS=waiting: PostgreSQL does not respond")
	manager.until(t, "EXTEND_TIMEOUT_USEC=60000000")
	for _, addr := range addrs[1:] {
		for path, want := range map[string]struct {
			status int
			body   string
		}{
			"/healthz":                          {http.StatusOK, `"status":"ok"`},
			"/readyz":                           {http.StatusServiceUnavailable, "PostgreSQL does not respond"},
			"/readyz/public":                    {http.StatusServiceUnavailable, "starting"},
			"/v1/tenants":                       {http.StatusServiceUnavailable, `"code":"unavailable"`},
			"/t/platform/.well-known/jwks.json": {http.StatusServiceUnavailable, `"code":"unavailable"`},
		} {
			if resp, text := fetchFrom(t, "http://"+addr+path); resp.StatusCode != want.status || !strings.Contains(text, want.body) {
				t.Errorf("%s%s: %d %s", addr, path, resp.StatusCode, text)
			}
		}
	}
	ended := launch(t, env, "worker", "--log-format=text")
	ended.until(t, `cannot be completed: waiting`)
	if code := ended.stop(); code != exitOK {
		t.Errorf("exit code of a worker that was told to end: %d", code)
	}
	http.DefaultClient.CloseIdleConnections()
	server.Start()
	log := serve.until(t, `what was waited for is available.*`)
	serve.until(t, `msg=serving `)
	for _, addr := range addrs[1:] {
		if got := status(t, "http://"+addr+"/readyz"); got != http.StatusOK {
			t.Errorf("%s/readyz of the service: %d (%s)", addr, got, log[0])
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if code := serve.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}

	// Health checks are answered during the first attempt too, if that takes long.
	thaw := server.Freeze()
	env["KEYWARD_DATABASE_URL"], env["KEYWARD_ADMIN_ADDR"] = server.DSN()+"&connect_timeout=60", freeAddress(t)
	worker := launch(t, env, "worker", "--log-format=text")
	comes(t, "/healthz of a worker is 200", func() bool {
		resp, err := http.Get("http://" + env["KEYWARD_ADMIN_ADDR"] + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if resp, text := fetchFrom(t, "http://"+env["KEYWARD_ADMIN_ADDR"]+"/readyz"); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "has not answered yet") {
		t.Errorf("/readyz of a worker: %d %s", resp.StatusCode, text)
	}
	http.DefaultClient.CloseIdleConnections()
	thaw()
	worker.until(t, `msg=working`)
}

// A KMS that does not respond is waited for as PostgreSQL is.
func TestStartWhileKMSIsAway(t *testing.T) {
	kms := kmstest.NewVault(t)
	env := environ{"KEYWARD_DATABASE_URL": dbtest.New(t), "KEYWARD_MASTER_KEY": kms.URI, "KEYWARD_ADDR": "127.0.0.1:0"}
	keyward(t, env, "master", "init").want(t, exitOK)
	kms.Instead(slices.Repeat([]http.HandlerFunc{kmstest.VaultFault(http.StatusServiceUnavailable, "Vault is sealed")}, 1000)...)
	keyward(t, env, "serve", "--start-wait=0s").want(t, exitFailed, "KMS is not available")
	serve := launch(t, env, "serve", "--no-worker", "--log-format=text")
	url := "http://" + serve.until(t, `cannot be completed: waiting.* reason="the KMS of the master key.* addr=(\S+)`)[1]
	if resp, text := fetchFrom(t, url+"/readyz"); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, `"detail":"the KMS of the master key does not respond"`) {
		t.Errorf("/readyz: %d %s", resp.StatusCode, text)
	}
	if got := status(t, url+"/healthz"); got != http.StatusOK {
		t.Errorf("/healthz: %d", got)
	}
	http.DefaultClient.CloseIdleConnections()
	kms.Instead()
	serve.until(t, `msg=serving `)
	if got := status(t, url+"/readyz"); got != http.StatusOK {
		t.Errorf("/readyz of the service: %d", got)
	}
	http.DefaultClient.CloseIdleConnections()
}
