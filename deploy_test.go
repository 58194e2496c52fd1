package keyward_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const chart = "deploy/helm/keyward"

// chartValues are the values that the chart requires.
var chartValues = []string{
	"--set", "publicURL=https://keys.example.com", "--set", "database.serviceSecret=service", "--set", "database.migratorSecret=migrator",
	"--kube-version", "1.30.0",
}

func needProgram(t *testing.T, name, from string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed (%s)", name, from)
	}
}

func render(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "helm", append(append([]string{"template", "kw", chart}, chartValues...), args...)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return stderr.String(), err
	}
	return string(out), nil
}

// The chart passes lint, renders what a platform needs, and refuses values that its
// schema does not know.
func TestChart(t *testing.T) {
	needProgram(t, "helm", "go install helm.sh/helm/v3/cmd/helm@v3.19.0")
	lint := exec.CommandContext(t.Context(), "helm", append([]string{"lint", "--strict", chart, "--set", "masterKey.secret=master"}, chartValues...)...)
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("helm lint: %v\n%s", err, out)
	}
	for _, master := range []string{"masterKey.secret=master", "masterKey.uri=aws-kms://arn:aws:kms:eu-central-1:1:key/a"} {
		out, err := render(t, "--set", master, "--set", "serviceMonitor.enabled=true", "--set", "prometheusRule.enabled=true")
		if err != nil {
			t.Fatalf("helm template: %v\n%s", err, out)
		}
		for _, part := range []string{
			"kind: Deployment", "kind: Job", "kind: Service\n", "kind: ServiceAccount", "kind: PodDisruptionBudget", "kind: NetworkPolicy", "kind: PodMonitor", "kind: PrometheusRule",
			"replicas: 2", "path: /healthz, port: admin", "path: /readyz, port: admin", "path: /readyz/public, port: admin", "args: [worker]", "args: [serve, --no-worker]", "args: [migrate, up]", "runAsNonRoot: true", "alert: KeywardNoWorker",
		} {
			if !strings.Contains(out, part) {
				t.Errorf("with %s: no %q", master, part)
			}
		}
		if strings.Contains(out, `secretName: "master"`) != (master == "masterKey.secret=master") {
			t.Errorf("with %s the Secret is wrong", master)
		}
	}
	for _, bad := range []string{
		"masterKey.secret=", "publicURL=keys.example.com", "publicURL=https://keys.example.com/", "replicas=0", "drainDelay=soon", "databse.url=x", "nameOverride=other",
		"fullnameOverride=Keyward", "fullnameOverride=a_b", "fullnameOverride=1", "image.repository=", "image.repository=a b", "image.tag=a:b", "imagePullSecrets[0]=name",
		"admin.port=8080", "podDisruptionBudget.minAvailable=half", "podDisruptionBudget.minAvailable=-1", "podAnnotations.a=1", "nodeSelector.a=true", "serviceAccount.annotations.a=1",
		// What the chart sets: twice in a pod, one of the two is lost, or the probes ask the wrong port.
		"env.KEYWARD_ADDR=:80", "env.KEYWARD_ADMIN_ADDR=:80", "env.KEYWARD_DATABASE_URL=x", "env.KEYWARD_DRAIN_DELAY=1s", "env.KEYWARD_MASTER_KEY=x", "env.KEYWARD_NO_WORKER=true", "env.KEYWARD_PUBLIC_URL=x",
	} {
		if out, err := render(t, "--set", "masterKey.secret=master", "--set", bad); err == nil || !strings.Contains(out, "schema") {
			t.Errorf("%s is accepted: %v %s", bad, err, out)
		}
	}
}

// No container has a variable twice, of which Kubernetes takes one, whatever env has.
func TestChartSetsEachVariableOnce(t *testing.T) {
	needProgram(t, "helm", "go install helm.sh/helm/v3/cmd/helm@v3.19.0")
	out, err := render(t, "--set", "masterKey.secret=master", "--set", "env.KEYWARD_LOG_FORMAT=text", "--set", "env.KEYWARD_LOG_LEVEL=debug")
	if err != nil {
		t.Fatal(out)
	}
	containers := strings.Split(out, "\n          env:")[1:]
	for _, c := range containers {
		names := regexp.MustCompile(`\{name: (KEYWARD_\w+),`).FindAllStringSubmatch(c, -1)
		seen := map[string]bool{}
		for _, name := range names {
			if seen[name[1]] {
				t.Errorf("%s is set twice", name[1])
			}
			seen[name[1]] = true
		}
	}
	if len(containers) != 3 || strings.Count(out, `{name: KEYWARD_LOG_FORMAT, value: "text"}`) != 2 {
		t.Errorf("%d containers:\n%s", len(containers), out)
	}
}

// The values in the commands of docs/install.md are those that the chart has, and what it
// says to run in a pod is there.
func TestChartAsDocumented(t *testing.T) {
	needProgram(t, "helm", "go install helm.sh/helm/v3/cmd/helm@v3.19.0")
	page := strings.ReplaceAll(text(t, "docs/install.md"), "\\\n", " ")
	commands := regexp.MustCompile(`(?m)^helm (?:install|upgrade) keyward keyward_\S+_chart\.tgz (.*?)(?: #.*)?$`).FindAllStringSubmatch(page, -1)
	for _, command := range commands {
		args := strings.Fields(strings.NewReplacer("'", "", "--reuse-values", "").Replace(command[1]))
		out, err := render(t, append([]string{"--set", "masterKey.secret=master"}, args...)...)
		if err != nil {
			t.Errorf("%s: %v\n%s", command[0], err, out)
		}
		for i, arg := range args {
			if _, value, _ := strings.Cut(arg, "="); i > 0 && args[i-1] == "--set" && !strings.Contains(out, value) {
				t.Errorf("%s: nothing has %s", command[0], value)
			}
		}
	}
	if len(commands) != 3 {
		t.Errorf("%d commands were found", len(commands))
	}
	if notes := text(t, chart+"/templates/NOTES.txt"); !strings.Contains(page, "kubectl exec deploy/keyward -- /keyward api-key create --role platform_admin") || !strings.Contains(notes, "-- /keyward api-key create --role platform_admin") {
		t.Error("the page or the notes do not say how to make the first API key")
	}
}

// What is in front of verifiers asks whether JWKS can be served, from memory too, and what is
// in front of administrators whether a process can change and sign: the check of the other
// would take every replica out with the database, or leave in those that can do nothing.
func TestEveryBackEndHasItsReadiness(t *testing.T) {
	for file, parts := range map[string][]string{
		"deploy/compose-ha/haproxy.cfg": {`backend public\n(?:  .*\n)*?  option httpchk GET /readyz/public\n`, `backend admin\n(?:  .*\n)*?  option httpchk GET /readyz\n`},
		"deploy/helm/keyward/templates/deployment.yaml": {
			`readinessProbe: \{httpGet: \{path: \{\{ ternary "/readyz/public" "/readyz" \(eq \$part "serve"\) \}\}`, `livenessProbe: \{httpGet: \{path: /healthz,`, `startupProbe: \{httpGet: \{path: /healthz,`,
		},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !regexp.MustCompile(part).Match(text) {
				t.Errorf("%s lacks %s", file, part)
			}
		}
	}
	// No other file asks for either; one that does needs a line above.
	err := filepath.WalkDir("deploy", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if known := strings.HasSuffix(path, "haproxy.cfg") || strings.HasSuffix(path, "templates/deployment.yaml"); bytes.Contains(text, []byte("/readyz")) && !known {
			t.Errorf("%s asks for readiness: which?", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The chart has a copy of the alert rules, because it can include only its own files.
func TestChartHasTheAlertRules(t *testing.T) {
	rules, err := os.ReadFile("deploy/prometheus/keyward.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(chart + "/keyward.rules.yml")
	if err != nil || !bytes.Equal(rules, copied) {
		t.Errorf("cp deploy/prometheus/keyward.rules.yml %s/ (%v)", chart, err)
	}
}

// systemd accepts the units, and finds little to harden.
func TestUnits(t *testing.T) {
	needProgram(t, "systemd-analyze", "Debian: systemd")
	units, _ := filepath.Glob("deploy/systemd/*.service")
	if len(units) != 4 {
		t.Fatalf("%d units", len(units))
	}
	dir, program := t.TempDir(), regexp.MustCompile(`/usr/bin/keyward[a-z-]*`)
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		installed := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(installed, program.ReplaceAll(text, []byte("/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", installed).CombinedOutput(); err != nil || bytes.Contains(out, []byte(installed)) {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
		if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=20", installed).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

// The units make the directories of checkpoints that docs/recovery.md names, and take the
// settings of docs/publishing.md for a directory that a web server reads.
func TestUnitsWriteWhereDocumented(t *testing.T) {
	recovery := text(t, "docs/recovery.md")
	edits := regexp.MustCompile("(?s)```ini\n(.*?)```").FindStringSubmatch(text(t, "docs/publishing.md"))
	if edits == nil {
		t.Fatal("docs/publishing.md has no settings of a unit")
	}
	for _, name := range []string{"keyward", "keyward-worker"} {
		unit := text(t, "deploy/systemd/"+name+".service")
		if place := "/var/lib/" + name + "/checkpoints"; !strings.Contains(unit, "\nStateDirectory="+name+" "+name+"/checkpoints\n") || !strings.Contains(recovery, "`file://"+place+"`") || !strings.Contains(unit, "file://"+place) {
			t.Errorf("%s does not make %s, or docs/recovery.md does not name it", name, place)
		}
	}
	needProgram(t, "systemd-analyze", "Debian: systemd")
	dir := t.TempDir()
	unit := filepath.Join(dir, "keyward.service")
	edited := strings.Replace(text(t, "deploy/systemd/keyward.service"), "/usr/bin/keyward", "/bin/true", 1) + "\n" + strings.Replace(edits[1], "User=keyward", "User=daemon", 1)
	if err := os.WriteFile(unit, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || bytes.Contains(out, []byte(unit)) {
		t.Errorf("%v\n%s", err, out)
	}
}

// HAProxy accepts the configuration of the compose file for high availability.
func TestProxyConfiguration(t *testing.T) {
	needProgram(t, "haproxy", "Debian: haproxy")
	if out, err := exec.CommandContext(t.Context(), "haproxy", "-c", "-f", "deploy/compose-ha/haproxy.cfg").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// composeVariable matches the use of a variable of compose's own, and comments, which
// name these.
var composeVariable = regexp.MustCompile(`\$\{[A-Z_]+|(?m:^#.*$)`)

// Everything below deploy names only settings that exist.
func TestDeploymentsNameExistingSettings(t *testing.T) {
	var config []byte
	for _, path := range []string{"cmd/keyward/config.go", "cmd/keyward/remote.go", "cmd/keyward/audit.go"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		config = append(config, text...)
	}
	named := regexp.MustCompile(`KEYWARD_[A-Z_]+[A-Z]`)
	seen := 0
	for _, path := range files(t, ".yaml", ".yml", ".tpl", ".service", ".env", ".txt") {
		if !strings.HasPrefix(filepath.ToSlash(path), "deploy/") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range named.FindAllString(composeVariable.ReplaceAllString(string(text), ""), -1) {
			if seen++; !strings.Contains(string(config), `var:"`+strings.TrimSuffix(name, "_FILE")+`"`) {
				t.Errorf("%s names %s, which is no setting", path, name)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d settings were found", seen)
	}
}
