package main

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/db/dbtest"
)

// Every command of docs/hardening.md prints what the page says, on an installation that
// is set up as the page says.
func TestHardening(t *testing.T) {
	page := read(t, "../../docs/hardening.md")
	world := hardened(t, page)
	ran := runDocumented(t, page, "hardening", world)
	if ran < 20 {
		t.Errorf("only %d commands were found", ran)
	}
}

// hardened returns the environment of a shell beside a server with the serving login,
// TLS, an admin address, and the page's SQL applied.
func hardened(t *testing.T, page string) environ {
	t.Helper()
	for _, program := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here", program)
		}
	}
	f := files{t, t.TempDir()}
	ca := newAuthority(t)
	ca.life = 90 * 24 * time.Hour // doctor warns of less than three weeks
	ca.pair(f.path("cert.pem"), f.path("key.pem"))
	f.write("ca.pem", ca.pem())
	env := deployed(t)
	super := env["KEYWARD_DATABASE_URL"]
	key := strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_admin", "--name=bootstrap", "--expires-in=24h").stdout)
	login := servingLogin(t, super, "keyward_hard_")
	u, err := url.Parse(login)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.NewReplacer("DATABASE keyward ", `DATABASE "`+strings.TrimPrefix(u.Path, "/")+`" `, "keyward_service, keyward_backup", u.User.Username())
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(blocks) != 1 {
		t.Fatalf("%d blocks of SQL", len(blocks))
	}
	dbtest.Exec(t, super, names.Replace(blocks[0][1]))
	env["KEYWARD_DATABASE_URL"] = login
	env["KEYWARD_TLS_CERT"], env["KEYWARD_TLS_KEY"] = f.path("cert.pem"), f.path("key.pem")
	env["KEYWARD_ADMIN_ADDR"] = "127.0.0.1:0"
	launch(t, env, "worker", "--admin-addr=127.0.0.1:0", "--log-format=text").until(t, `leadership acquired`)
	r := launch(t, env, "serve", "--no-worker", "--log-format=text")
	m := r.until(t, `msg=serving url=(https://\S+) .*admin_url=(https://\S+)`)
	env["PUBLIC"], env["KEYWARD_PUBLIC_URL"], env["KEYWARD_URL"], env["KEYWARD_API_KEY"] = m[1], m[1], m[2], key
	f.write(".curlrc", []byte("insecure\n")) // curl refuses an authority without a name, which the keyward program takes
	env["SSL_CERT_FILE"], env["CURL_HOME"] = f.path("ca.pem"), f.dir
	run := commandRunner(t, env)
	if out, err := run("keyward tenant create acme"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return env
}

// commandRunner returns what runs a command line with a keyward program of this source in its path,
// in a directory of its own.
func commandRunner(t *testing.T, env environ) func(command string) (string, error) {
	t.Helper()
	program, dir := built(t), t.TempDir()
	return func(command string) (string, error) {
		c := exec.CommandContext(t.Context(), "sh", "-c", command)
		c.Dir = dir
		c.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+string(os.PathListSeparator)+os.Getenv("PATH"))
		for name, value := range env {
			c.Env = append(c.Env, name+"="+value)
		}
		out, err := c.CombinedOutput()
		_, _ = shown.Place("the commands of " + t.Name()).Write(out)
		return string(out), err
	}
}

// documentedCommands returns the commands of a page's blocks of a kind: lines, and from a
// line "(" to a line ")" one command.
func documentedCommands(page, kind string) (commands []string) {
	inside := false
	for _, block := range regexp.MustCompile("(?s)```sh "+kind+"\n(.*?)```").FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(block[1]) {
			trimmed := strings.TrimSpace(line)
			switch {
			case inside:
				commands[len(commands)-1] += line
			case trimmed != "": // before the end of an indented block
				commands = append(commands, line)
			}
			inside = trimmed == "(" || inside && trimmed != ")"
		}
	}
	return commands
}

// runDocumented runs each command of a page's blocks of a kind, and compares what it prints
// with the remark after it: a line that begins so, or nothing at all. Without a
// remark the command must succeed.
func runDocumented(t *testing.T, page, kind string, env environ) (ran int) {
	t.Helper()
	return runDocumentedBy(t, commandRunner(t, env), page, kind)
}

// runDocumentedBy is runDocumented with what runs a command, so that parts of a page share a
// directory.
func runDocumentedBy(t *testing.T, run func(command string) (string, error), page, kind string) (ran int) {
	t.Helper()
	for _, line := range documentedCommands(page, kind) {
		command, want, promised := strings.Cut(strings.TrimSpace(line), "  # ")
		out, err := run(command)
		ran++
		switch want = strings.TrimSpace(want); {
		case !promised && err != nil:
			t.Errorf("%s: %v\n%s", command, err, out)
		case want == "nothing" && strings.TrimSpace(out) != "":
			t.Errorf("%s prints\n%s", command, out)
		case promised && want != "nothing" && !slices.ContainsFunc(strings.Split(out, "\n"), func(printed string) bool { return strings.HasPrefix(strings.TrimSpace(printed), want) }):
			t.Errorf("%s prints no %q:\n%s", command, want, out)
		}
	}
	return ran
}
