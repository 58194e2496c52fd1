//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package publish

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

const lockRetry = 5 * time.Millisecond

// waitForLock asks again and again, because flock(2) does not know contexts. The kernel
// frees the lock of a process that dies.
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
