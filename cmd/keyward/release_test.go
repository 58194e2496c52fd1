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
	for file, has := range map[string]string{
		"keyward.1": ".SS keyward audit checkpoint", "LICENSE": "Apache", "completion/keyward.bash": "keyward complete", "completion/_keyward": "#compdef", "completion/keyward.fish": "complete -c keyward",
	} {
		if !strings.Contains(read(t, filepath.Join(dir, name, file)), has) {
			t.Errorf("%s lacks %q", file, has)
		}
	}
	type component struct {
		Name, Version, PURL string
		Licenses            []struct{ License struct{ ID string } }
	}
	var bom struct{ Components []component }
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "keyward_0.0.0-test.cdx.json"))), &bom); err != nil {
		t.Fatal(err)
	}
	if len(bom.Components) < 20 || !slices.ContainsFunc(bom.Components, func(c component) bool {
		return c.Name == "github.com/jackc/pgx/v5" && c.PURL == "pkg:golang/github.com/jackc/pgx/v5@"+c.Version
	}) {
		t.Errorf("%d components", len(bom.Components))
	}
	for _, c := range bom.Components {
		if len(c.Licenses) != 1 || c.Licenses[0].License.ID == "" {
			t.Errorf("%s has no licence", c.Name)
		}
	}
	checkImage(t, dir)
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		return
	}
	list, err := exec.CommandContext(t.Context(), "dpkg-deb", "--contents", filepath.Join(dir, "keyward_0.0.0-test_"+runtime.GOARCH+".deb")).CombinedOutput()
	for _, file := range []string{"./usr/bin/keyward", "./lib/systemd/system/keyward.service", "./usr/share/man/man1/keyward.1.gz"} {
		if err != nil || !strings.Contains(string(list), file) {
			t.Errorf("the package lacks %s: %v\n%s", file, err, list)
		}
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
	for _, want := range []string{"KEYWARD_DATABASE_URL", "KEYWARD_CHECKPOINT_DIR", ".SH EXIT STATUS"} {
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
