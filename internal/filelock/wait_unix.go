//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package filelock

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

const retry = 5 * time.Millisecond

// Wait waits for the exclusive lock of an open file (flock(2)), which ends when the file is
// closed, and so with its process. It asks again and again, because flock does not know
// contexts. Errors: that of ctx; errors.ErrUnsupported where there is no flock.
func Wait(ctx context.Context, lock *os.File) error {
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("flock", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}
