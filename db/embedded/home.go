//go:build unix

package embedded

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What is found in a home:
//
//	data/          the cluster
//	data.init/     one that initdb has not finished
//	run/           the socket
//	lock           held as long as the server runs
//	postgres.log   the server's log since its last start
const (
	dataDir  = "data"
	initDir  = "data.init"
	runDir   = "run"
	lockFile = "lock"
	logFile  = "postgres.log"
	noteFile = "location" // in Config.Dir only, when home is elsewhere
)

// elsewhere is where clusters go that root keeps where no other user can go,
// as below /root.
const elsewhere = "/var/lib/keyward"

// home is the place of one cluster, held by this process.
type home struct {
	base  string // Config.Dir
	dir   string // where the cluster really is
	acct  account
	locks []*os.File
	temp  string // a directory for the socket when dir's name is too long
}

// openHome finds or makes the home for cfg.Dir and locks it.
func openHome(cfg Config) (_ *home, err error) {
	if cfg.Dir == "" {
		return nil, errors.New("no directory for the PostgreSQL cluster")
	}
	base, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	h := &home{base: base}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if err := makeBase(base); err != nil {
		return nil, err
	}
	if err := h.lockDirectory(base); err != nil {
		return nil, err
	}
	if err := h.chooseLocation(); err != nil {
		return nil, err
	}
	if h.dir != base {
		cfg.Log.Info("PostgreSQL cluster is outside the data directory, which its user cannot reach", "dir", base, "cluster", h.dir)
		return h, h.lockDirectory(h.dir)
	}
	return h, nil
}

// makeBase makes the private directory base. Parents that are missing are made
// so that others can pass, but not look. A directory that is there already may
// be given to another user next, so it has to be empty or a cluster's.
func makeBase(base string) error {
	if err := os.MkdirAll(filepath.Dir(base), 0o711); err != nil { // #nosec G301 -- the user of PostgreSQL passes through
		return err
	}
	err := os.Mkdir(base, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) == 0 {
		return err
	}
	if _, err := os.Lstat(filepath.Join(base, lockFile)); err != nil {
		return fmt.Errorf("%s holds other things than a PostgreSQL cluster", base)
	}
	return nil
}

// chooseLocation decides the cluster's directory and the account of its
// processes.
func (h *home) chooseLocation() (err error) {
	if h.dir, err = readNote(h.base); err != nil {
		return err
	}
	noted := h.dir != ""
	if !noted {
		h.dir = h.base
	}
	if h.acct, err = accountFor(h.dir); err != nil {
		return err
	}
	reached := !h.acct.foreign || h.acct.reaches(h.dir)
	switch {
	case reached:
		return h.acct.changeOwner(h.dir)
	case h.majorVersion() != 0:
		return fmt.Errorf("%w: %s is to run it, and cannot reach %s", ErrUnreachable, h.acct.name, h.dir)
	default:
		return h.moveOut()
	}
}

// moveOut creates a home outside base and leaves a note in base. The name is
// never used twice, so deleting base leads to a new, empty cluster.
func (h *home) moveOut() (err error) {
	if err := os.MkdirAll(elsewhere, 0o711); err != nil { // #nosec G301 -- the user of PostgreSQL passes through
		return fmt.Errorf("%s cannot reach %s, and there is no other place: %w", h.acct.name, h.base, err)
	}
	sum := sha256.Sum256([]byte(h.base))
	if h.dir, err = os.MkdirTemp(elsewhere, fmt.Sprintf("%x-", sum[:6])); err != nil {
		return err
	}
	back := fmt.Appendf(nil, "This PostgreSQL cluster belongs to %s\n", h.base)
	if err := os.WriteFile(filepath.Join(h.dir, "README"), back, 0o600); err != nil {
		return err
	}
	if err := h.acct.changeOwner(h.dir); err != nil {
		return err
	}
	return writeNote(h.base, h.dir)
}

// readNote returns the place a note in base names, or "" if there is no note
// or no longer such a place.
func readNote(base string) (string, error) {
	text, err := os.ReadFile(filepath.Join(base, noteFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	dir, _, _ := strings.Cut(string(text), "\n")
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || !filepath.IsAbs(dir) { // #nosec G703 -- a directory of our own note
		return "", nil
	}
	return dir, nil
}

func writeNote(base, dir string) error {
	text := dir + "\nis where this PostgreSQL cluster is: the user that runs it cannot reach the directory of this note.\n"
	temp := filepath.Join(base, noteFile+".new")
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(base, noteFile))
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

// majorVersion is the major version that made the cluster, 0 if there is none yet.
func (h *home) majorVersion() int {
	text, err := os.ReadFile(filepath.Join(h.dir, dataDir, "PG_VERSION"))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}
