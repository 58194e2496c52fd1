//go:build unix

package embedded

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// endLeftover stops a server that outlived the process that started it. We hold
// the lock, so nobody needs it.
func (c cluster) endLeftover(ctx context.Context) error {
	pid := c.postmaster()
	switch {
	case pid == 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH):
		return nil // PostgreSQL itself clears up what a dead one left
	case !c.serves(pid):
		// The number is another process's by now, and PostgreSQL would take it
		// for a server.
		return os.Remove(c.path(dataDir + "/postmaster.pid"))
	}
	c.log.Info("stopping a left-over PostgreSQL server", "pid", pid)
	err := c.run(ctx, "pg_ctl", "stop", "-D", c.path(dataDir), "-m", "fast", "-w", "-t", "30")
	if err != nil && c.postmaster() == pid && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return err
	}
	return nil // it may have ended by itself, between our look and pg_ctl's
}

// postmaster is the process that postmaster.pid names, 0 if there is none.
func (c cluster) postmaster() int {
	text, err := os.ReadFile(c.path(dataDir + "/postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return max(pid, 0)
}

// serves reports whether a process is a server of this cluster. One that is
// dead and only not buried has no command line; it counts as one, since
// PostgreSQL counts it, and pg_ctl waits for its end.
func (c cluster) serves(pid int) bool {
	line, err := commandLine(pid)
	return err != nil || line == "" || strings.Contains(line, c.path(dataDir))
}
