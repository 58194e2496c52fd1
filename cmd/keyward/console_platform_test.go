package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The platform's page of the console tells of this process, the worker that leads, the
// master key, the database, and what doctor finds.
func TestPlatformPage(t *testing.T) {
	env := deployed(t)
	key := strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_auditor", "--name=watch").stdout)
	address := launch(t, env, "serve").until(t, `msg=serving url=(\S+) `)[1]
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	read := func(resp *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_ = read(browser.PostForm(address+"/console/sign-in", url.Values{"key": {key}}))
	wanted := []string{"1 live", "each serves every change", process, "✓ Leads", "Nothing due", "current", "wrapped by the current one", "PostgreSQL", "row security", "✓ fine", "agrees"}
	lacking := wanted
	for end := time.Now().Add(time.Minute); len(lacking) > 0; { // the worker takes the lease a moment after the start
		page := read(browser.Get(address + "/console/platform"))
		lacking = nil
		for _, text := range wanted {
			if !strings.Contains(page, text) {
				lacking = append(lacking, text)
			}
		}
		if len(lacking) > 0 && time.Now().After(end) {
			t.Fatalf("the page lacks %q:\n%s", lacking, page)
		}
	}
	if page := read(browser.Get(address + "/console/platform")); strings.Contains(page, "hunter2") || strings.Contains(page, "postgres://") {
		t.Error("the page has the database's URL")
	}
}
