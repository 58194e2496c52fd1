//go:build unix

package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// binEnv names a directory of PostgreSQL binaries to be used before all others.
const binEnv = "KEYWARD_PG_BIN"

// places are where systems and package managers put PostgreSQL's server
// binaries; most of them keep these out of $PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",     // Debian, Ubuntu
	"/usr/pgsql-*/bin",              // PGDG packages for Fedora, RHEL
	"/usr/lib/postgresql[0-9]*/bin", // openSUSE
	"/usr/libexec/postgresql*",      // Alpine
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	"/opt/local/lib/postgresql*/bin", // MacPorts
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// programs are what a directory must hold to be of use.
var programs = []string{"postgres", "initdb", "pg_ctl"}

// binaries is one installation of PostgreSQL.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// findBinaries returns the installation for a cluster: the one in the directory
// told, else the newest. A cluster can be opened by its own major version only; for
// a new one major is 0.
func findBinaries(told string, major int) (binaries, error) {
	if told = cmp.Or(told, os.Getenv(binEnv)); told != "" {
		b, err := readInstallation(told)
		if err == nil && major != 0 && b.major != major {
			err = fmt.Errorf("%w: it is %d, and %s is %d", ErrVersion, major, told, b.major)
		}
		return b, err
	}
	all := listInstalled()
	if len(all) == 0 {
		return binaries{}, fmt.Errorf("%w.\n%s", ErrNoBinaries, installHint())
	}
	if major == 0 {
		return all[0], nil
	}
	i := slices.IndexFunc(all, func(b binaries) bool { return b.major == major })
	if i < 0 {
		return binaries{}, fmt.Errorf("%w: it is %d, and the newest here is %d. Install PostgreSQL %[2]d, or use another directory",
			ErrVersion, major, all[0].major)
	}
	return all[i], nil
}

// listInstalled returns the usable installations on this machine, newest first.
func listInstalled() []binaries {
	var dirs []string
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		dirs = append(dirs, found...)
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(p))
		}
	}
	var all []binaries
	for _, dir := range dirs {
		if b, err := readInstallation(dir); err == nil {
			all = append(all, b)
		}
	}
	slices.SortStableFunc(all, func(a, b binaries) int { return cmp.Compare(b.major, a.major) })
	return all
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// readInstallation returns the installation in dir with its version.
func readInstallation(dir string) (binaries, error) {
	for _, p := range programs {
		if _, err := exec.LookPath(filepath.Join(dir, p)); err != nil {
			return binaries{}, fmt.Errorf("no PostgreSQL server in %s: %w", dir, markAbsent(err))
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output() // #nosec G204 G702 -- PostgreSQL's program, which the operator has installed
	if err != nil {
		return binaries{}, fmt.Errorf("%s/postgres --version: %w", dir, err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return binaries{}, fmt.Errorf("%s/postgres --version: %q is not a version", dir, out)
	}
	major, err := strconv.Atoi(string(m[1]))
	return binaries{dir: dir, major: major}, err
}

// markAbsent wraps err in ErrNoBinaries if a program does not exist.
func markAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNoBinaries, err)
	}
	return err
}
