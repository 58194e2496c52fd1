package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
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
