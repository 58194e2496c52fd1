//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package publish

import (
	"context"
	"errors"
	"os"
)

// waitForLock refuses: without flock(2) two workers could mix their states.
func waitForLock(context.Context, *os.File) error {
	return errors.New("publishing to a directory needs flock(2), which this system does not have: publish to a bucket")
}
