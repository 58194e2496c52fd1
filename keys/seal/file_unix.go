//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package seal

import (
	"context"
	"io/fs"
	"os"
	"syscall"

	"github.com/keyward/keyward/internal/filelock"
)

// excessMode returns the permissions that a master key file must not have. As
// PostgreSQL does for its private key, it lets root's file be read by a group: that
// is how Kubernetes (fsGroup), systemd and Docker hand over secrets. A file of the
// process's own user is for that user alone.
func excessMode(info fs.FileInfo) fs.FileMode {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return excessOf(info.Mode().Perm(), ok && stat.Uid == 0, os.Geteuid() == 0)
}

func excessOf(mode fs.FileMode, ofRoot, isRoot bool) fs.FileMode {
	if ofRoot && !isRoot {
		return mode & 0o037
	}
	return mode & 0o077
}

// withLock runs fn while no other process, and nothing else in this one, changes
// the master key. The kernel frees the lock of a process that dies.
func (f file) withLock(ctx context.Context, like fs.FileInfo, fn func() error) error {
	lock, err := os.OpenFile(f.path+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // frees the lock
	if like != nil {
		_ = keepOwner(lock, like) // so that the owner can lock, too, after root did
	}
	if err := filelock.Wait(ctx, lock); err != nil {
		return err
	}
	return fn()
}

// keepOwner gives f the owner and group of another file, where they differ.
func keepOwner(f *os.File, like fs.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok1 := info.Sys().(*syscall.Stat_t)
	want, ok2 := like.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 || is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}
