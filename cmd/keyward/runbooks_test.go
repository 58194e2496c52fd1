package main

import (
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyward/keyward/client"
)

// The commands of docs/runbooks.md work, in their order.
func TestRunbooks(t *testing.T) {
	local := deployed(t)
	local["KEYWARD_PUBLIC_URL"] = "" // derived from the address
	env := servedOn(t, local)
	rec := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	var leaked client.CreatedAPIKey
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/acme/api-keys", `{"role":"tenant_signer","name":"leaked"}`, true), &leaked)
	_, kid := rec.sign(t)
	both := maps.Clone(local)
	maps.Copy(both, env)
	next := filepath.Join(t.TempDir(), "next.json")
	keyward(t, local, "--master-key=file:"+next, "master", "init").want(t, exitOK)
	blocks := regexp.MustCompile("(?s)```sh runbook\n(.*?)```").FindAllStringSubmatch(read(t, "../../docs/runbooks.md"), -1)
	ran := 0
	for _, block := range blocks {
		for line := range strings.Lines(block[1]) {
			command := strings.NewReplacer("$KID", kid, "$ID", leaked.ID.String(), "/etc/keyward/next.json", next).Replace(strings.TrimSpace(line))
			if r := keyward(t, both, strings.Fields(command)[1:]...); r.code != exitOK {
				t.Errorf("%s: %d\n%s%s", line, r.code, r.stdout, r.stderr)
			}
			ran++
		}
	}
	if ran < 12 {
		t.Errorf("only %d commands were found", ran)
	}
}
