//go:build unix

package embedded

import (
	"strings"
	"testing"
)

func TestInstallCommand(t *testing.T) {
	for _, c := range []struct{ goos, release, want string }{
		{"linux", "PRETTY_NAME=\"Debian\"\nID=debian\n", "apt-get install postgresql"},
		{"linux", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "apt-get install postgresql"},
		{"linux", "ID=fedora\n", "dnf install postgresql-server"},
		{"linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install postgresql-server"},
		{"linux", "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", "zypper"},
		{"linux", "", "package manager"},
		{"darwin", "", "brew install postgresql"},
	} {
		if got := installCommand(c.goos, c.release); !strings.Contains(got, c.want) {
			t.Errorf("installCommand(%s, %q) = %q, want %q in it", c.goos, c.release, got, c.want)
		}
	}
}

func TestNothingInstalled(t *testing.T) {
	before := places
	places = []string{t.TempDir() + "/*/bin"}
	t.Cleanup(func() { places = before })
	t.Setenv("PATH", t.TempDir())
	t.Setenv(binEnv, "")
	_, err := findBinaries("", 0)
	if err == nil || !strings.Contains(err.Error(), "Install it with:") {
		t.Errorf("findBinaries = %v, want how to install", err)
	}
}
