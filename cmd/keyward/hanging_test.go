package main

import (
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
)

// A process ends in time although PostgreSQL hangs: while requests wait for it, the worker
// works and evidence is to be written.
func TestStopWhilePostgreSQLHangs(t *testing.T) {
	for name, hang := range map[string]func(*testing.T, *dbtest.Server) (dsn string, begin func() (end func())){
		"frozen": func(_ *testing.T, pg *dbtest.Server) (string, func() func()) { return pg.DSN(), pg.Freeze },
		"half-open": func(t *testing.T, pg *dbtest.Server) (string, func() func()) {
			p := dbtest.NewProxy(t, pg.DSN())
			return p.DSN(), p.Stall
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			dsn, begin := hang(t, dbtest.NewServer(t))
			env := environ{
				"KEYWARD_DATABASE_URL": dsn, "KEYWARD_MASTER_KEY": "file:" + filepath.Join(t.TempDir(), "master.json"), "KEYWARD_ADDR": "127.0.0.1:0",
			}
			shown.Database(t, dsn, func() string { return env["KEYWARD_MASTER_KEY"] })
			keyward(t, env, "master", "init").want(t, exitOK, "Created")
			key := regexp.MustCompile(`kw_\w+`).FindString(keyward(t, env, "api-key", "create", "--role=platform_admin", "--name=root").stdout)
			serve := launch(t, env, "serve", "--log-format=text")
			worker := launch(t, env, "worker", "--log-format=text")
			url := serve.until(t, `msg=serving url=(\S+)`)[1]
			worker.until(t, `msg=working`)
			send := func(path, body string) int {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return 0
				}
				req.Header.Set("Authorization", "Bearer "+key)
				req.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return 0 // cut off by the end
				}
				defer resp.Body.Close()
				_, _ = io.Copy(io.Discard, resp.Body)
				return resp.StatusCode
			}
			if got := send("/v1/tenants", `{"slug":"acme"}`); got != http.StatusCreated {
				t.Fatalf("create a tenant: %d", got)
			}
			if got := send("/v1/tenants/acme/tokens", `{"claims":{}}`); got != http.StatusOK {
				t.Fatalf("sign: %d", got)
			}
			end := begin()
			defer end()
			var requests sync.WaitGroup
			for range 8 {
				requests.Go(func() {
					if got := send("/v1/tenants/acme/keys/rotate", "{}"); got != 0 && got != http.StatusServiceUnavailable {
						t.Errorf("rotate: %d", got)
					}
				})
			}
			began := time.Now()
			var codes [2]int
			var stops sync.WaitGroup
			for i, r := range []*running{serve, worker} {
				stops.Go(func() { codes[i] = r.stop() })
			}
			stops.Wait()
			requests.Wait()
			// Requests end within 15 s, background loops within 8, connections within 5.
			if took := time.Since(began); took > 50*time.Second {
				t.Errorf("the end took %v", took)
			}
			if codes != [2]int{exitOK, exitOK} {
				t.Errorf("exit codes %v", codes)
			}
		})
	}
}
