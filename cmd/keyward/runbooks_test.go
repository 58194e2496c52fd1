package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/db/dbtest"
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

// The commands for a leaked master key replace it on two machines, whose processes go on,
// and then every key and API key, and reject what waits for approval, also of a tenant that
// requires approvals.
func TestRunbookOfALeakedMasterKey(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("no jq here to paste the commands for")
	}
	local := deployed(t)
	local["KEYWARD_PUBLIC_URL"] = "" // derived from the address
	env := servedOn(t, local)        // with the tenant acme
	rec := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	var signer client.CreatedAPIKey
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/acme/api-keys", `{"role":"tenant_signer","name":"signer"}`, true), &signer)
	rec.ask(t, "POST", "/v1/tenants/acme/workload-identities",
		`{"name":"ci","issuer":"https://ci.example.com","audience":"keyward","rules":[{"claim":"sub","equals":"main"}],"role":"tenant_signer"}`, true)
	before := tenantKIDs(t, rec, "acme")
	first := strings.TrimPrefix(local["KEYWARD_MASTER_KEY"], "file:")
	other := filepath.Join(t.TempDir(), "master.json")
	copyFile(t, first, other)
	there := maps.Clone(local)
	there["KEYWARD_MASTER_KEY"] = "file:" + other
	second := &recorder{url: "http://" + launch(t, there, "serve", "--log-format=text").until(t, servingAt)[1], key: rec.key}

	both := maps.Clone(local)
	maps.Copy(both, env)
	run := commandRunner(t, both)
	page := strings.NewReplacer("scp ", "cp ", "other-machine:/etc/keyward/master.json", other, "/etc/keyward/master.json", first).Replace(read(t, "../../docs/runbooks.md"))
	waiting := guard(t, rec, "acme")
	rec.ask(t, "PATCH", "/v1/tenants/platform", `{"approval_required":["import"]}`, true)
	rec.ask(t, "POST", "/v1/tenants", `{"slug":"unguarded"}`, true)
	liftApprovals(t, run, page, apiKey(t, local))
	if ran := runDocumentedBy(t, run, page, "leaked-master-key"); ran != 5 {
		t.Errorf("%d commands were found", ran)
	}
	replacement, err := run("cat replacement.key")
	if err != nil {
		t.Fatal(replacement)
	}
	if open, err := run("find . -type f -perm /077"); err != nil || open != "" {
		t.Errorf("others can read %s: %v", open, err)
	}
	for _, old := range []string{rec.key, signer.Key} {
		if r := keyward(t, environ{"KEYWARD_URL": second.url, "KEYWARD_API_KEY": old}, "key", "list", "--tenant=acme"); r.code == exitOK {
			t.Error("an API key of before works")
		}
	}
	second.key = strings.TrimSpace(replacement)
	second.ask(t, "POST", "/v1/tenants/acme/tokens", `{}`, true) // by the copied version
	for _, kid := range tenantKIDs(t, second, "acme") {
		if slices.Contains(before, kid) {
			t.Errorf("key %s of before is published", kid)
		}
	}
	if rejected := second.ask(t, "GET", "/v1/tenants/acme/approvals?status=rejected", "", true); !strings.Contains(string(rejected), waiting) {
		t.Errorf("the approval %s was not rejected: %s", waiting, rejected)
	}
	for _, path := range []string{"/v1/tenants/acme/api-keys", "/v1/tenants/acme/workload-identities", "/v1/tenants/acme/approvals?status=pending", "/v1/tenants/acme/approvals?status=approved"} {
		if left := second.ask(t, "GET", path, "", true); !strings.Contains(string(left), `"items":[]`) {
			t.Errorf("%s: %s", path, left)
		}
	}
}

// guard makes a tenant require approvals, and returns the id of one that waits.
func guard(t *testing.T, rec *recorder, slug string) (waiting string) {
	t.Helper()
	rec.ask(t, "PATCH", "/v1/tenants/"+slug, `{"approval_required":["revoke_all","api_keys"]}`, true)
	var asked client.Approval
	unmarshal(t, rec.ask(t, "POST", "/v1/tenants/"+slug+"/keys/revoke-all", `{"reason":"superseded"}`, true), &asked)
	return asked.ID.String()
}

// liftApprovals runs the commands of a page after which a tenant requires no approvals; second
// is the API key of a second person.
func liftApprovals(t *testing.T, run func(string) (string, error), page, second string) {
	t.Helper()
	approval := ""
	commands := documentedCommands(page, "leaked-master-key-approvals")
	for _, line := range commands {
		command, want, promised := strings.Cut(strings.TrimSpace(line), "  # ")
		out, err := run(strings.NewReplacer("$SECOND", second, "$APPROVAL", approval).Replace(command))
		if !promised && err != nil || !strings.Contains(out, want) {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		if want == "acme" && out != "acme\nplatform\n" { // of which there are others, which require none
			t.Errorf("%s: %s", command, out)
		}
		if id := regexp.MustCompile(`--approval (\S+)`).FindStringSubmatch(out); id != nil {
			approval = id[1]
		}
	}
	if len(commands) != 4 {
		t.Errorf("%d commands were found", len(commands))
	}
}

// Whichever command fails of those that replace everything, jq too, the whole fails, and
// nothing is done after it.
func TestRunbookOfALeakedMasterKeyStops(t *testing.T) {
	jq, err := exec.LookPath("jq")
	if err != nil {
		t.Skip("no jq here to paste the commands for")
	}
	commands := documentedCommands(read(t, "../../docs/runbooks.md"), "leaked-master-key")
	everything, stubs := commands[len(commands)-1], t.TempDir()
	const count = `echo >>ran; [ "$(wc -l <ran)" -ne "$FAILING" ] || exit 3; `
	for name, script := range map[string]string{
		"keyward": count + `case "$*" in *--json*) echo '{"items":[{"slug":"acme","id":"one"},{"slug":"other","id":"two"}]}';; esac`,
		"jq":      count + `exec ` + jq + ` "$@"`,
	} {
		if err := os.WriteFile(filepath.Join(stubs, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(failing int) (ran int, err error) {
		c := exec.CommandContext(t.Context(), "sh", "-c", everything)
		c.Dir = t.TempDir()
		c.Env = append(os.Environ(), "PATH="+stubs+string(os.PathListSeparator)+os.Getenv("PATH"), "FAILING="+strconv.Itoa(failing))
		err = c.Run()
		return len(read(t, filepath.Join(c.Dir, "ran"))), err
	}
	all, err := run(0)
	if err != nil || all < 30 {
		t.Fatalf("%d commands ran: %v", all, err)
	}
	for failing := 1; failing <= all; failing++ {
		if ran, err := run(failing); err == nil || ran != failing {
			t.Errorf("command %d fails: %d of %d ran, %v", failing, ran, all, err)
		}
	}
}

// After the loss of the master key the commands make a new installation that has the same
// issuers.
func TestRunbookOfALostMasterKey(t *testing.T) {
	local := deployed(t)
	local["KEYWARD_PUBLIC_URL"] = "https://keys.example.com"
	rec := serveAgain(t, local, apiKey(t, local))
	rec.ask(t, "POST", "/v1/tenants", `{"slug":"acme"}`, true)
	issuer := func(r *recorder) string {
		var found struct{ Issuer string }
		unmarshal(t, r.ask(t, "GET", "/t/acme/.well-known/openid-configuration", "", false), &found)
		return found.Issuer
	}
	before := issuer(rec)
	if err := os.Remove(strings.TrimPrefix(local["KEYWARD_MASTER_KEY"], "file:")); err != nil {
		t.Fatal(err)
	}
	keyward(t, local, "doctor").want(t, exitFailed, "FAIL  master key")
	local["KEYWARD_DATABASE_URL"] = dbtest.Empty(t)
	page := read(t, "../../docs/runbooks.md")
	both := maps.Clone(local)
	run := commandRunner(t, both)
	ran := runDocumentedBy(t, run, page, "lost-master-key")
	again := serveAgain(t, local, "")
	both["KEYWARD_URL"] = again.url
	if open, err := run("find . -type f -perm /077"); err != nil || open != "" {
		t.Errorf("others can read %s: %v", open, err)
	}
	if ran += runDocumentedBy(t, run, page, "lost-master-key-served"); ran != 4 {
		t.Errorf("%d commands were found", ran)
	}
	if after := issuer(again); after != before {
		t.Errorf("the issuer was %s and is %s", before, after)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(to, []byte(read(t, from)), 0o600); err != nil {
		t.Fatal(err)
	}
}
