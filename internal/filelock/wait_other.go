//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package filelock

import (
	"context"
	"errors"
	"os"
)

// Wait refuses: there is no flock(2).
func Wait(context.Context, *os.File) error { return errors.ErrUnsupported }
