package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/keyward/keyward/db/dbtest"
)

// verbs may begin a help text.
var verbs = strings.Fields(`Accept Add Allow Apply Approve Authenticate Begin Cache Change Check Complete Confirm Connect Continue Create Delay
	Delete Disable Do Enable Explain Export Fetch Fill Filter Find Grant Import Include Keep Limit List Listen Log Make Manage Map Move Name
	Post Prepare Print Publish Purge Re-seal Re-wrap Read Record Reject Remove Repeat Replace Require Reset Resume Retire Revoke Rotate Run
	Save Seal Select Send Serve Set Show Sign Skip Sort Stream Suspend Trust Use Verify Wait Write`)

func model(t *testing.T) *kong.Node {
	t.Helper()
	k, err := kong.New(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	return k.Model.Node
}

func TestHelpTextsBeginWithAVerb(t *testing.T) {
	check := func(what, text string) {
		verb, _, _ := strings.Cut(text, " ")
		if !slices.Contains(verbs, strings.TrimSuffix(verb, ",")) || !strings.HasSuffix(text, ".") {
			t.Errorf("%s: %q", what, text)
		}
	}
	root := model(t)
	for _, leaf := range root.Leaves(false) {
		name := commandName(leaf)
		for node := leaf; node.Parent != nil; node = node.Parent {
			check(commandName(node), node.Help)
		}
		for _, f := range append(leaf.Flags, root.Flags...) {
			if f.Name != "help" {
				check(name+" --"+f.Name, f.Help)
			}
		}
		for _, arg := range leaf.Positional {
			check(name+" "+arg.Summary(), arg.Help)
		}
	}
}

// The list of commands has one line for each.
func TestCommandList(t *testing.T) {
	r := keyward(t, nil, "help")
	r.want(t, exitOK, "Remote commands (API)", "Local commands (database)", "Other commands")
	if same := keyward(t, nil, "--help"); same != r {
		t.Errorf("--help prints something else:\n%s", same.stdout)
	}
	lines := strings.Split(r.stdout, "\n")
	for _, leaf := range model(t).Leaves(true) {
		n := 0
		for _, line := range lines {
			if strings.HasPrefix(line, "  "+commandName(leaf)+"  ") && strings.HasSuffix(line, " "+leaf.Help) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q has %d lines", commandName(leaf), n)
		}
	}
	for _, line := range lines {
		if len(line) > helpWidth {
			t.Errorf("too wide: %q", line)
		}
	}
	bare := keyward(t, nil)
	if bare.want(t, exitUsage, "expected one of"); !strings.Contains(bare.stderr, strings.TrimSpace(r.stdout)) {
		t.Errorf("without a command: %s", bare.stderr)
	}
}

// The help of a command has its own flags, and the settings of the service only
// where they matter.
func TestCommandHelp(t *testing.T) {
	const most = 40 // lines
	root := model(t)
	for _, leaf := range root.Leaves(true) {
		name := commandName(leaf)
		r := keyward(t, nil, append(strings.Fields(name), "--help")...)
		r.want(t, exitOK, "Usage: keyward "+name, leaf.Help)
		if by := keyward(t, nil, append([]string{"help"}, strings.Fields(name)...)...); by != r {
			t.Errorf("keyward help %s prints something else:\n%s", name, by.stdout)
		}
		if n := strings.Count(r.stdout, "\n"); n >= most && name != "serve" {
			t.Errorf("%s has %d lines", name, n)
		}
		for _, f := range leaf.Flags {
			if f.Name != "help" && !strings.Contains(r.stdout, flagForm(f)) {
				t.Errorf("%s does not show --%s", name, f.Name)
			}
		}
		shown := 0
		for _, f := range root.Flags {
			if inGroup(f, settingGroup) && strings.Contains(r.stdout, "["+variableOf(f.Tag)+"]") {
				shown++
			}
		}
		for _, flag := range []string{"--url=URL", "--api-key=KEY", "--json"} {
			if kindOf(leaf) == 0 && (shown > 0 || !strings.Contains(r.stdout, flag)) {
				t.Errorf("%s shows %d settings, and its API flags are\n%s", name, shown, r.stdout)
			}
		}
	}
	for _, group := range []string{"master", "key", "import-from"} {
		r := keyward(t, nil, group, "--help")
		if r.want(t, exitOK, "Usage: keyward "+group+" COMMAND", "\n  "+group+" "); strings.Count(r.stdout, "\n") > 15 {
			t.Errorf("%s", r.stdout)
		}
	}
	keyward(t, nil, "help", "kex").want(t, exitUsage, `there is no command "kex"`)
}

func TestHelpOfTheSettings(t *testing.T) {
	r := keyward(t, nil, "help", "config")
	r.want(t, exitOK)
	keyward(t, nil, "serve", "--help").want(t, exitOK, r.stdout, "KEYWARD_NO_WORKER")
	for _, f := range model(t).Flags {
		if !inGroup(f, settingGroup) {
			continue
		}
		if f.Tag.Get("accepts") == "" || f.Default == "" && f.Tag.Get("unset") == "" {
			t.Errorf("--%s does not say what it accepts or what its default is", f.Name)
		}
		if !strings.Contains(r.stdout, "  "+variableOf(f.Tag)+" (--") {
			t.Errorf("help config lacks %s", variableOf(f.Tag))
		}
	}
	if strings.Contains(r.stdout, "Accepts: .") || strings.Contains(r.stdout, "Default: .") {
		t.Errorf("%s", r.stdout)
	}
}

// With --json every error is one problem document on the standard error.
func TestErrorsAsJSON(t *testing.T) {
	problem := func(env environ, code int, args ...string) map[string]any {
		t.Helper()
		r := keyward(t, env, args...)
		var p map[string]any
		if r.want(t, code); strings.Count(r.stderr, "\n") != 1 || json.Unmarshal([]byte(r.stderr), &p) != nil || r.stdout != "" || p["title"] == "" || p["type"] == "" {
			t.Fatalf("%v: %+v", args, r)
		}
		return p
	}
	for _, args := range [][]string{
		{"tenant", "list", "--json"}, {"tenant", "lst", "--json"}, {"key", "list", "--json"}, {"version", "--json", "--colour"}, {"doctor", "--json", "--log-level=loud"},
	} {
		if p := problem(nil, exitUsage, args...); p["code"] != "usage" {
			t.Errorf("%v: %v", args, p)
		}
	}
	away := environ{"KEYWARD_URL": "http://127.0.0.1:1", "KEYWARD_API_KEY": "kw_0_0", "KEYWARD_TENANT": "acme"}
	if p := problem(away, exitFailed, "key", "list", "--json"); p["code"] != "unavailable" {
		t.Errorf("%v", p)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if p := problem(away, exitFailed, "key", "import", "--pem="+missing, "--json"); p["code"] != "failed" || !strings.Contains(p["detail"].(string), missing) {
		t.Errorf("%v", p)
	}
	env := served(t)
	if p := problem(env, exitFailed, "tenant", "show", "nobody", "--json"); p["code"] != "tenant_not_found" || p["status"] != 404.0 {
		t.Errorf("%v", p)
	}
	p := problem(env, exitFailed, "tenant", "update", "acme", "--jwks-max-age=3000d", "--json")
	if fields, are := p["errors"].([]any); p["status"] == nil || !are || len(fields) == 0 {
		t.Errorf("%v", p)
	}
	r := keyward(t, env, "tenant", "delete", "acme", "--json")
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	if r.want(t, exitUsage); json.Unmarshal([]byte(lines[len(lines)-1]), &p) != nil || p["code"] != "usage" || r.stdout != "" {
		t.Errorf("%+v", r)
	}
}

// Without a terminal and without --yes, the refusal is one line, after the effect.
func TestRefusalWithoutATerminalIsOneLine(t *testing.T) {
	env := served(t)
	env["KEYWARD_TENANT"] = "acme"
	for _, command := range []string{
		"tenant delete acme", "key revoke-all --reason=compromised", "policy retire EdDSA", "api-key revoke 01890a5d-ac96-774b-bcce-b302099a8057",
	} {
		r := keyward(t, env, strings.Fields(command)...)
		r.want(t, exitUsage)
		if n := strings.Count(r.stderr, "keyward: "); n != 1 || !strings.HasSuffix(r.stderr, "give --yes to proceed\n") || strings.Count(r.stderr[strings.Index(r.stderr, "keyward: "):], "\n") != 1 {
			t.Errorf("%s: %q", command, r.stderr)
		}
	}
}

func TestDoctorAsJSON(t *testing.T) {
	type document struct {
		OK       bool
		Findings []struct{ Status, Check, Detail string }
	}
	env := deployed(t)
	keyward(t, env, "api-key", "create", "--role=platform_admin").want(t, exitOK)
	healthy := okJSON[document](t, env, "doctor")
	if !healthy.OK || len(healthy.Findings) < 8 {
		t.Errorf("%+v", healthy)
	}
	checks := map[string]string{}
	for _, f := range healthy.Findings {
		checks[f.Check] = f.Status
	}
	if checks["database"] != "ok" || checks["configuration"] != "warn" || checks["audit"] != "ok" {
		t.Errorf("%v", checks)
	}
	dbtest.Exec(t, env["KEYWARD_DATABASE_URL"], "ALTER TABLE keys NO FORCE ROW LEVEL SECURITY")
	r := keyward(t, env, "doctor", "--json")
	var sick document
	if r.want(t, exitFailed); json.Unmarshal([]byte(r.stdout), &sick) != nil || sick.OK || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	r = keyward(t, environ{"KEYWARD_PUBLIC_URL": "http://127.0.0.1:1"}, "doctor", "--tenant=acme", "--json")
	if r.want(t, exitFailed); json.Unmarshal([]byte(r.stdout), &sick) != nil || sick.OK || sick.Findings[0].Check != "public URL" {
		t.Errorf("%+v", r)
	}
}

func TestVersionAsJSON(t *testing.T) {
	v := okJSON[map[string]string](t, nil, "version")
	if v["version"] == "" || v["commit"] == "" || !strings.HasPrefix(v["go"], "go") && !strings.HasPrefix(v["go"], "devel") {
		t.Errorf("%v", v)
	}
}

// The README's table of settings names only settings that exist.
func TestSettingsOfTheDocuments(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	config := ok(t, nil, "help", "config")
	for line := range strings.Lines(string(text)) {
		if name, _, is := strings.Cut(strings.TrimPrefix(line, "| `"), "`"); is && strings.HasPrefix(line, "| `KEYWARD_") && !strings.Contains(config, name+" (") {
			t.Errorf("README.md names %s, which help config does not", name)
		}
	}
}
