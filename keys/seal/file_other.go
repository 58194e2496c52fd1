//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// modeMatters says whether mode bits decide who reads a file here.
const modeMatters = false

// locked refuses: without flock(2) a master key file can be read but not
// changed.
func (f file) locked(context.Context, fs.FileInfo, func() error) error {
	return fmt.Errorf("change a master key file on this system: %w", errors.ErrUnsupported)
}

func keepOwner(*os.File, fs.FileInfo) error { return nil }
