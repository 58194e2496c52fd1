package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

// releaseTools are the programs that deploy/release calls.
var releaseTools = []string{"bash", "jq", "tar", "gzip", "sha256sum"}

// makeRelease runs deploy/release for this machine and returns the directory.
func makeRelease(t *testing.T) string {
	t.Helper()
	for _, tool := range releaseTools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "../../deploy/release", "v0.0.0-test", dir)
	cmd.Env = append(os.Environ(), "TARGETS="+runtime.GOOS+"/"+runtime.GOARCH, "COMMIT=0123456789", "SOURCE_DATE_EPOCH=1700000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// A release is the same bytes each time it is made, and has what it says: a program that
// knows its version, the manual page, completions, the list of components, a package.
func TestRelease(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("builds programs, with GNU tools")
	}
	dir, again := makeRelease(t), makeRelease(t)
	if sums := read(t, filepath.Join(dir, "SHA256SUMS")); sums != read(t, filepath.Join(again, "SHA256SUMS")) || !strings.Contains(sums, ".tar.gz") {
		t.Errorf("not reproducible:\n%s\n%s", sums, read(t, filepath.Join(again, "SHA256SUMS")))
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--quiet", "SHA256SUMS")
	if check.Dir = dir; check.Run() != nil {
		t.Error("SHA256SUMS does not fit")
	}
	name := "keyward_0.0.0-test_linux_" + runtime.GOARCH
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-xzf", filepath.Join(dir, name+".tar.gz")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said, err := exec.CommandContext(t.Context(), filepath.Join(dir, name, "keyward"), "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(said), "keyward v0.0.0-test\ncommit 0123456789\n") {
		t.Errorf("%s: %v", said, err)
	}
	for _, front := range []string{"keyward-kubernetes-signer", "keyward-spiffe-bundle"} {
		if out, err := exec.CommandContext(t.Context(), filepath.Join(dir, name, front), "--version").CombinedOutput(); err != nil || string(out) != front+" v0.0.0-test\n" {
			t.Errorf("%s: %s: %v", front, out, err)
		}
	}
	for file, has := range map[string]string{
		"docs/install.md": "# Installing", "docs/alternatives.md": "## ", "deploy/systemd/keyward.service": "Type=notify", "deploy/systemd/keyward.env": "KEYWARD_DATABASE_URL=",
		"deploy/prometheus/keyward.rules.yml": "alert:", "deploy/grafana/keyward.json": "panels", "deploy/helm/keyward/Chart.yaml": "name: keyward", "deploy/compose-ha/docker-compose.yml": "services:", "docker-compose.yml": "services:",
		"keyward.1": ".SS keyward audit checkpoint", "LICENSE": "Apache", "completion/keyward.bash": "keyward complete", "completion/_keyward": "#compdef", "completion/keyward.fish": "complete -c keyward",
	} {
		if !strings.Contains(read(t, filepath.Join(dir, name, file)), has) {
			t.Errorf("%s lacks %q", file, has)
		}
	}
	checkComponents(t, dir, "keyward", "github.com/jackc/pgx/v5", 20)
	checkComponents(t, dir, "keyward-kubernetes-signer", "k8s.io/externaljwt", 10)
	checkComponents(t, dir, "keyward-spiffe-bundle", "github.com/go-jose/go-jose/v4", 5)
	checkImage(t, dir)
	checkChart(t, filepath.Join(dir, "keyward_0.0.0-test_chart.tgz"))
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		return
	}
	installDocumented(t, filepath.Join(dir, "keyward_0.0.0-test_"+runtime.GOARCH+".deb"))
	checkNoScripts(t, filepath.Join(dir, "keyward_0.0.0-test_"+runtime.GOARCH+".deb"))
	list, err := exec.CommandContext(t.Context(), "dpkg-deb", "--contents", filepath.Join(dir, "keyward_0.0.0-test_"+runtime.GOARCH+".deb")).CombinedOutput()
	for _, file := range []string{
		"./usr/bin/keyward", "./lib/systemd/system/keyward.service", "./lib/systemd/system/keyward-kubernetes-signer.service", "./lib/systemd/system/keyward-spiffe-bundle.service", "./usr/share/doc/keyward/kubernetes-signer.env", "./usr/share/man/man1/keyward.1.gz", "./usr/bin/keyward-kubernetes-signer", "./usr/bin/keyward-spiffe-bundle", "./usr/share/doc/keyward/keyward.env",
		"./usr/share/doc/keyward/docs/install.md", "./usr/share/doc/keyward/prometheus/keyward.rules.yml", "./etc/keyward/",
	} {
		if err != nil || !strings.Contains(string(list), file) {
			t.Errorf("the package lacks %s: %v\n%s", file, err, list)
		}
	}
}

// installDocumented runs the commands of docs/install.md for systemd with the Debian package
// unpacked into a directory, without systemctl, and against a database of its own.
func installDocumented(t *testing.T, deb string) {
	t.Helper()
	root, dsn := t.TempDir(), dbtest.Empty(t)
	if !strings.HasPrefix(dsn, "postgres") {
		t.Log("the commands of docs/install.md are not run: they need the database's URL")
		return
	}
	if !strings.Contains(dsn, "?") {
		dsn += "?sslmode=prefer"
	}
	dsn += "&application_name=a%20$HOME%23;b#c" // what a shell would read as something else, on whatever server
	script := "set -e\n"
	for _, block := range regexp.MustCompile("(?s)```sh systemd\n(.*?)```").FindAllStringSubmatch(read(t, "../../docs/install.md"), -1) {
		for line := range strings.Lines(block[1]) {
			switch {
			case strings.HasPrefix(line, "apt-get install "):
				line = "dpkg-deb -x " + deb + " " + root + "\n"
			case strings.HasPrefix(line, "systemctl enable "):
				continue
			case strings.Contains(line, "# then edit it"):
				line += `sed -i 's|postgres:[^'"'"']*|` + strings.ReplaceAll(dsn, "&", `\&`) + "|' /etc/keyward/keyward.env\n"
			}
			script += line
		}
	}
	script = strings.NewReplacer(" /etc/keyward", " "+root+"/etc/keyward", "file:/etc/keyward", "file:"+root+"/etc/keyward", " /usr/share", " "+root+"/usr/share",
		"PGPASSFILE=/etc", "PGPASSFILE="+root+"/etc", "postgres://keyward_migrator@db.example.com/keyward?sslmode=verify-full", dsn).Replace(script)
	script += "echo \"url: $KEYWARD_DATABASE_URL\"\n"
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(root, "usr", "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"url: " + dsn + "\n", "Created file:", "schema is up to date", "(platform_admin)", "OK    migrations", "OK    master key"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands of docs/install.md say no %q (%v):\n%s\n%s", want, err, script, out)
		}
	}
}

// checkNoScripts checks that a package runs nothing when it is installed or upgraded, and has
// no files of settings, as docs/upgrading.md says.
func checkNoScripts(t *testing.T, deb string) {
	t.Helper()
	control := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--control", deb, control).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := os.ReadDir(control)
	if err != nil || len(files) != 1 || files[0].Name() != "control" {
		t.Errorf("the package has %v: %v", files, err)
	}
}

// checkComponents reads the list of components of a program, which has a module, at least
// so many components, and a licence for each.
func checkComponents(t *testing.T, dir, program, module string, least int) {
	t.Helper()
	type component struct {
		Name, Version, PURL string
		Licenses            []struct{ License struct{ ID string } }
	}
	file := program + "_0.0.0-test.cdx.json"
	var bom struct {
		Metadata   struct{ Component component }
		Components []component
	}
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, file))), &bom); err != nil {
		t.Fatal(err)
	}
	if bom.Metadata.Component.Name != program || len(bom.Components) < least || !slices.ContainsFunc(bom.Components, func(c component) bool {
		return c.Name == module && c.PURL == "pkg:golang/"+module+"@"+c.Version
	}) {
		t.Errorf("%s: %d components of %s, or not %s", file, len(bom.Components), bom.Metadata.Component.Name, module)
	}
	for _, c := range bom.Components {
		if len(c.Licenses) != 1 || c.Licenses[0].License.ID == "" {
			t.Errorf("%s: %s has no licence", file, c.Name)
		}
	}
	if !strings.Contains(read(t, filepath.Join(dir, "SHA256SUMS")), file) {
		t.Errorf("SHA256SUMS lacks %s", file)
	}
}

// checkChart renders the chart of a release, where Helm is installed.
func checkChart(t *testing.T, chart string) {
	t.Helper()
	if _, err := exec.LookPath("helm"); err != nil {
		return
	}
	out, err := exec.CommandContext(t.Context(), "helm", "template", "keyward", chart, "--kube-version=1.27.0", "--set=publicURL=https://keys.example.com",
		"--set=database.serviceSecret=a", "--set=database.migratorSecret=b", "--set=masterKey.secret=c").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "kind: Deployment") {
		t.Errorf("%v\n%s", err, out)
	}
}

// checkImage checks the image of a release: it is listed in SHA256SUMS, and its
// configuration is that of the Dockerfile.
func checkImage(t *testing.T, dir string) {
	t.Helper()
	archive := "keyward_0.0.0-test_linux_" + runtime.GOARCH + ".oci.tar"
	if !strings.Contains(read(t, filepath.Join(dir, "SHA256SUMS")), archive) {
		t.Errorf("SHA256SUMS lacks %s", archive)
	}
	layout := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", layout, "-xf", filepath.Join(dir, archive)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// blob reads what a descriptor of the layout names.
	type descriptor struct{ Digest string }
	blob := func(d descriptor, v any) {
		if err := json.Unmarshal([]byte(read(t, filepath.Join(layout, "blobs", strings.Replace(d.Digest, ":", "/", 1)))), v); err != nil {
			t.Fatal(err)
		}
	}
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal([]byte(read(t, filepath.Join(layout, "index.json"))), &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%v: %d manifests", err, len(index.Manifests))
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	blob(index.Manifests[0], &manifest)
	var image struct {
		OS, Architecture, Created string
		Config                    struct {
			User, WorkingDir string
			Entrypoint, Cmd  []string
			ExposedPorts     map[string]struct{}
			Labels           map[string]string
		}
	}
	blob(manifest.Config, &image)
	if image.OS != "linux" || image.Architecture != runtime.GOARCH || image.Created != "2023-11-14T22:13:20Z" {
		t.Errorf("an image for %s/%s of %s", image.OS, image.Architecture, image.Created)
	}
	if labels := image.Config.Labels; labels["org.opencontainers.image.version"] != "v0.0.0-test" || labels["org.opencontainers.image.revision"] != "0123456789" {
		t.Errorf("labels %v", labels)
	}
	dockerfile := read(t, "../../Dockerfile")
	entrypoint, _ := json.Marshal(image.Config.Entrypoint)
	command, _ := json.Marshal(image.Config.Cmd)
	for _, line := range []string{"USER " + image.Config.User, "WORKDIR " + image.Config.WorkingDir, "ENTRYPOINT " + string(entrypoint), "CMD " + string(command)} {
		if !strings.Contains(dockerfile, "\n"+line+"\n") {
			t.Errorf("the Dockerfile has no line %q", line)
		}
	}
	for port := range image.Config.ExposedPorts {
		if !strings.Contains(dockerfile, "\nEXPOSE "+strings.TrimSuffix(port, "/tcp")+"\n") {
			t.Errorf("the Dockerfile does not expose %s", port)
		}
	}
	var files strings.Builder
	for _, layer := range manifest.Layers {
		list, err := exec.CommandContext(t.Context(), "tar", "--numeric-owner", "-tvzf", filepath.Join(layout, "blobs", strings.Replace(layer.Digest, ":", "/", 1))).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, list)
		}
		files.Write(list)
	}
	for _, file := range []string{`-rwxr-xr-x 0/0 .* \./keyward`, `-rw-r--r-- 0/0 .* \./etc/ssl/certs/ca-certificates\.crt`, `drwxr-xr-x 65532/65532 .* \./tmp/`, `drwxr-xr-x 65532/65532 .* \./var/lib/keyward/`} {
		if !regexp.MustCompile(`(?m)^` + file + `$`).MatchString(files.String()) {
			t.Errorf("the image has no %s:\n%s", file, files.String())
		}
	}
}

// The manual page has every command and setting, and is well-formed where a formatter is
// installed.
func TestManPage(t *testing.T) {
	page := keyward(t, nil, "man").stdout
	for _, leaf := range model(t).Leaves(true) {
		if !strings.Contains(page, ".SS keyward "+roff(commandName(leaf))+"\n") {
			t.Errorf("no section of %s", commandName(leaf))
		}
	}
	for _, want := range []string{"KEYWARD_DATABASE_URL", "KEYWARD_CHECKPOINTS", ".SH EXIT STATUS"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if groff, err := exec.LookPath("groff"); err == nil {
		cmd := exec.CommandContext(t.Context(), groff, "-man", "-ww", "-Tutf8", "-z")
		cmd.Stdin = strings.NewReader(page)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff: %v\n%s", err, out)
		}
	}
}
