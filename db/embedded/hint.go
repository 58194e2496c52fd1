//go:build unix

package embedded

import (
	"os"
	"runtime"
	"strings"
)

// installHint says how to get PostgreSQL onto this system.
func installHint() string {
	release, _ := os.ReadFile("/etc/os-release") // absent outside Linux
	return "Install it with:  " + installCommand(runtime.GOOS, string(release)) +
		"\nor let `make dev` do that, or name a directory with its binaries in " + binEnv +
		",\nor use a server of your own: KEYWARD_DATABASE_URL=postgres://user:password@host/database"
}

// installCommand is the command for an operating system and, on Linux, the
// distribution that its os-release(5) names, or the one it derives from.
func installCommand(goos, release string) string {
	if goos == "darwin" {
		return "brew install postgresql@17"
	}
	for _, id := range releaseIDs(release) {
		switch id {
		case "debian", "ubuntu":
			return "sudo apt-get install postgresql"
		case "fedora", "rhel", "centos":
			return "sudo dnf install postgresql-server"
		case "suse", "opensuse":
			return "sudo zypper install postgresql-server"
		case "alpine":
			return "sudo apk add postgresql"
		case "arch":
			return "sudo pacman -S postgresql"
		}
	}
	return "your system's package manager (the package with the server, not the client alone)"
}

// releaseIDs lists the values of ID and then ID_LIKE.
func releaseIDs(release string) []string {
	var id, like []string
	for line := range strings.Lines(release) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			id = strings.Fields(value)
		case "ID_LIKE":
			like = strings.Fields(value)
		}
	}
	return append(id, like...)
}
