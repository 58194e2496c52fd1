//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user a server runs as.
type account struct {
	uid, gid uint32
	name     string
	foreign  bool // not ourselves: we are root
}

// accountFor picks the account for the cluster in dir. Under root it is the
// one an existing cluster belongs to, else postgres, else nobody: initdb needs
// a user with an entry in passwd.
func accountFor(dir string) (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), name: "the current user"}, nil
	}
	if uid, ok := ownerOf(filepath.Join(dir, dataDir)); ok && uid != 0 {
		u, err := user.LookupId(strconv.Itoa(int(uid)))
		if err != nil {
			return account{}, err
		}
		return foreignAccount(u)
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return foreignAccount(u)
		}
	}
	return account{}, errors.New("PostgreSQL cannot run as root, and there is neither a user postgres nor nobody")
}

// foreignAccount returns the account of another user.
func foreignAccount(u *user.User) (account, error) {
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uerr, gerr); err != nil {
		return account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	return account{uid: uint32(uid), gid: uint32(gid), name: "user " + u.Username, foreign: true}, nil
}

// ownerOf returns the user id of the owner of path.
func ownerOf(path string) (uid uint32, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}

// reaches reports whether the account may pass through every directory above
// path. Only permission bits are looked at.
func (a account) reaches(path string) bool {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if !a.passes(dir) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

func (a account) passes(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	x := os.FileMode(0o001)
	switch {
	case st.Uid == a.uid:
		x = 0o100
	case st.Gid == a.gid:
		x = 0o010
	}
	return info.Mode()&x != 0
}

// changeOwner changes the owner of path to the account.
func (a account) changeOwner(path string) error {
	if !a.foreign {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// processAttributes makes a process run as the account and in its own process group: Ctrl-C
// ends this process, which then stops PostgreSQL.
func (a account) processAttributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.foreign {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}
