package keyward_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// oddPassword has what URLs, shells, password files and compose read as something else.
const oddPassword = `p@s s/w:o#r%d$HOME\'"&?é`

// The URLs and the password file that the scripts of compose-ha write for PostgreSQL have
// the passwords of an operator's files as they are.
func TestComposePasswords(t *testing.T) {
	needProgram(t, "bash", "Debian: bash")
	if os.Getuid() != 0 {
		t.Skip("make-secrets runs as root")
	}
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets")
	for _, sub := range []string{"secrets/master", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"make-secrets", "node", "logins", "logins.sql", "haproxy.cfg"} {
		copyFile(t, "deploy/compose-ha/"+name, filepath.Join(dir, name), 0o700)
	}
	for name, content := range map[string]string{"migrator_password": oddPassword, "replica_password": oddPassword + "\n", "master/master.json": "{}"} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(secrets, 0o755); err != nil { // as an operator makes it, who puts passwords there first
		t.Fatal(err)
	}
	bash(t, filepath.Join(dir, "make-secrets"))
	if info, err := os.Stat(secrets); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others on the machine reach the secrets: %v, %v", info.Mode(), err)
	}
	for login, want := range map[string]string{"migrator": oddPassword, "service": strings.TrimSpace(text(t, filepath.Join(secrets, "service_password")))} {
		c, err := pgconn.ParseConfig(strings.Replace(strings.TrimSpace(text(t, filepath.Join(secrets, login+"_url"))), "target_session_attrs", "application_name", 1))
		if err != nil {
			t.Fatal(err)
		}
		if c.Password != want || c.User != "keyward_"+login || c.Host != "db-1" || c.Database != "keyward" || c.RuntimeParams["application_name"] != "read-write" {
			t.Errorf("%s: %s with password %q on %s/%s", login, c.User, c.Password, c.Host, c.Database)
		}
	}

	line := regexp.MustCompile(`(?m)^\(umask .*$`).FindString(text(t, "deploy/compose-ha/node"))
	passfile := filepath.Join(dir, "pgpass")
	bash(t, "-euc", "pgpass="+passfile+"; "+strings.Replace(line, "/run/secrets", secrets, 1))
	c, err := pgconn.ParseConfig("host=db-2 user=keyward_replica dbname=replication passfile=" + passfile)
	if err != nil || c.Password != oddPassword {
		t.Errorf("replication: password %q (%v)", c.Password, err)
	}
}

// What docs/database.md prints for a password in a URL is what PostgreSQL's drivers read.
func TestDocumentedEncoding(t *testing.T) {
	needProgram(t, "jq", "Debian: jq")
	line := regexp.MustCompile(`(?m)^printf '%s' '(.*)' \| (jq -sRr @uri) +# (.*)$`).FindStringSubmatch(text(t, "docs/database.md"))
	if line == nil {
		t.Fatal("docs/database.md does not encode a password")
	}
	for password, want := range map[string]string{line[1]: line[3], oddPassword: ""} {
		c := exec.CommandContext(t.Context(), "sh", "-c", line[2])
		c.Stdin = strings.NewReader(password)
		out, err := c.Output()
		encoded := strings.TrimSpace(string(out))
		if err != nil || want != "" && encoded != want {
			t.Errorf("%s prints %q (%v)", line[0], encoded, err)
		}
		if c, err := pgconn.ParseConfig("postgres://u:" + encoded + "@db/keyward"); err != nil || c.Password != password {
			t.Errorf("%s is read as %q (%v)", encoded, c.Password, err)
		}
	}
}

// The chart gives processes every value as it was given, and names that look like numbers
// stay names.
func TestChartKeepsValues(t *testing.T) {
	needProgram(t, "helm", "go install helm.sh/helm/v3/cmd/helm@v3.19.0")
	values := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, []byte(`
database: {serviceSecret: "123", migratorSecret: "1e3"}
masterKey: {secret: "007"}
serviceAccount: {name: "12"}
fullnameOverride: "true"
env:
  KEYWARD_MAX_STREAMS: 1000000
  KEYWARD_ACCESS_LOG: 0.25
  KEYWARD_METRICS: false
  KEYWARD_CONSOLE_OIDC_NAME: 'a $$b $(KEYWARD_PUBLIC_URL) # "x" %d'
`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := render(t, "--values", values, "--set-string", "database.serviceSecret=123,database.migratorSecret=1e3")
	if err != nil {
		t.Fatal(out)
	}
	for name, want := range map[string]string{
		"KEYWARD_MAX_STREAMS": "1000000", "KEYWARD_ACCESS_LOG": "0.25", "KEYWARD_METRICS": "false",
		"KEYWARD_CONSOLE_OIDC_NAME": `a $$b $(KEYWARD_PUBLIC_URL) # "x" %d`, "KEYWARD_PUBLIC_URL": "https://keys.example.com",
	} {
		found := regexp.MustCompile(`\{name: ` + name + `, value: (".*")\}`).FindStringSubmatch(out)
		if found == nil {
			t.Errorf("no %s as text", name)
			continue
		}
		value, err := strconv.Unquote(found[1])
		// Kubernetes makes one dollar sign of two, and expands $(NAME) after a single one.
		if single := strings.ReplaceAll(value, "$$", ""); err != nil || strings.Contains(single, "$") || strings.ReplaceAll(value, "$$", "$") != want {
			t.Errorf("%s: %s, %v", name, found[1], err)
		}
	}
	if number := regexp.MustCompile(`(?m)\b(?:name|secretName|serviceAccountName|app\.kubernetes\.io/instance): *(?:[0-9][0-9e]*|true)[,}]?$`).FindAllString(out, -1); number != nil {
		t.Errorf("not text: %q", number)
	}
}

// The tag of the image may pin a digest, a whole one.
func TestChartPinsTheImage(t *testing.T) {
	needProgram(t, "helm", "go install helm.sh/helm/v3/cmd/helm@v3.19.0")
	digest := "@sha256:" + strings.Repeat("0a", 32)
	for tag, allowed := range map[string]bool{
		"": true, "0.1.0": true, "0.1.0" + digest: true,
		digest: false, "0.1.0" + digest[:len(digest)-1]: false, "0.1.0" + digest + "0": false, "0.1.0" + strings.ToUpper(digest): false, "0.1.0" + digest + digest: false,
	} {
		out, err := render(t, "--set", "masterKey.secret=master", "--set", "image.repository=registry.example.com:5000/keyward", "--set-string", "image.tag="+tag)
		switch {
		case !allowed && (err == nil || !strings.Contains(out, "image") || !strings.Contains(out, "schema")):
			t.Errorf("%q: %v %s", tag, err, out)
		case allowed && err != nil:
			t.Errorf("%q: %v %s", tag, err, out)
		case allowed && tag != "" && strings.Count(out, `image: "registry.example.com:5000/keyward:`+tag+`"`) != 3:
			t.Errorf("%q is not the image of each container", tag)
		}
	}
}

// Operators paste URLs of their own into the commands of the documentation: an & or ? in
// one must not be the shell's.
func TestURLsInCommandsAreQuoted(t *testing.T) {
	bare := regexp.MustCompile(`(?:^|[\s=])(?:postgres(?:ql)?://\S*|https?://[^\s'"]*[&?*;]\S*)`)
	quoted := regexp.MustCompile(`'[^']*'|"[^"]*"`)
	blocks := 0
	for _, page := range files(t, ".md") {
		for _, block := range regexp.MustCompile("(?s)```sh[^\n]*\n(.*?)```").FindAllStringSubmatch(text(t, page), -1) {
			blocks++
			if found := bare.FindString(quoted.ReplaceAllString(block[1], "''")); found != "" {
				t.Errorf("%s: quote%s", page, found)
			}
		}
	}
	if blocks < 30 {
		t.Errorf("only %d blocks", blocks)
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(to, []byte(text(t, from)), mode); err != nil {
		t.Fatal(err)
	}
}

func bash(t *testing.T, args ...string) {
	t.Helper()
	var out bytes.Buffer
	c := exec.CommandContext(t.Context(), "bash", args...)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}
