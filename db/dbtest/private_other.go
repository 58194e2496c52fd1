//go:build !unix

package dbtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// startEmbedded returns an error: there are no private clusters on this system.
func startEmbedded(context.Context) (*server, error) {
	return nil, fmt.Errorf("%w: on %s", errAbsent, runtime.GOOS)
}

// reaper stands for the shell that clears up after this process elsewhere.
type reaper struct{}

// atExit returns an error: a container outlives this process here.
func atExit(string, ...string) (*reaper, error) { return nil, errors.ErrUnsupported }
