//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package seal

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// modeMatters says whether mode bits decide who reads a file here.
const modeMatters = true

const lockRetry = 5 * time.Millisecond

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
	if err := waitForLock(ctx, lock); err != nil {
		return err
	}
	return fn()
}

// waitForLock asks again and again, because flock(2) does not know contexts.
func waitForLock(ctx context.Context, lock *os.File) error {
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("flock", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockRetry):
		}
	}
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
