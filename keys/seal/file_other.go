//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// excessMode returns 0: mode bits do not decide who reads a file here.
func excessMode(fs.FileInfo) fs.FileMode { return 0 }

// withLock refuses: without flock(2) a master key file can be read but not
// changed.
func (f file) withLock(context.Context, fs.FileInfo, func() error) error {
	return fmt.Errorf("change a master key file on this system: %w", errors.ErrUnsupported)
}

func keepOwner(*os.File, fs.FileInfo) error { return nil }
