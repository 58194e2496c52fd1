package main

import (
	"net/http"
	"strings"
	"testing"
)

// Profiles are there only if asked for, on the admin address, for clients on this machine.
func TestProfiles(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	env["KEYWARD_ADMIN_ADDR"] = "127.0.0.1:0"
	for _, asked := range []bool{false, true} {
		found := http.StatusNotFound
		if asked {
			env["KEYWARD_PPROF"], found = "true", http.StatusOK
		}
		r := launch(t, env, "serve", "--log-format=text")
		urls := r.until(t, `msg=serving url=(\S+) .*admin_url=(\S+)`)
		for _, c := range []struct {
			url, forwarded string
			status         int
		}{
			{urls[2] + "/debug/pprof/heap", "", found},
			{urls[2] + "/debug/pprof/goroutine?debug=1", "", found},
			{urls[2] + "/debug/pprof/heap", "203.0.113.7", http.StatusNotFound},
			{urls[2] + "/debug/pprof/cmdline", "", http.StatusNotFound},
			{urls[1] + "/debug/pprof/heap", "", http.StatusNotFound},
			{urls[2] + "/healthz", "", http.StatusOK},
		} {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url, nil)
			if c.forwarded != "" {
				req.Header.Set("X-Forwarded-For", c.forwarded)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("asked for: %t, %s forwarded for %q: %d", asked, c.url, c.forwarded, resp.StatusCode)
			}
		}
		r.stop()
	}
}

// The access log at level info has the fraction that was asked for, and nothing by
// default.
func TestAccessLog(t *testing.T) {
	env := deployed(t)
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	env["KEYWARD_ACCESS_LOG"] = "1"
	r := launch(t, env, "serve", "--log-format=text")
	url := r.until(t, `msg=serving url=(\S+)`)[1]
	rec := &recorder{url: url}
	rec.ask(t, "GET", "/t/platform/.well-known/jwks.json", "", false)
	r.until(t, `level=INFO msg=request .*operation=getJWKS status=200`)
	r.stop()
	delete(env, "KEYWARD_ACCESS_LOG")
	r = launch(t, env, "serve", "--log-format=text")
	rec.url = r.until(t, `msg=serving url=(\S+)`)[1]
	rec.ask(t, "GET", "/t/platform/.well-known/jwks.json", "", false)
	r.stop()
	for line := range r.log {
		if strings.Contains(line, "msg=request") {
			t.Errorf("logged without being asked: %s", line)
		}
	}
}
