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
	pid := c.postmasterPID()
	switch {
	case pid == 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH):
		return nil // PostgreSQL itself clears up what a dead one left
	case !c.isServer(pid):
		// The number is another process's by now, and PostgreSQL would take it
		// for a server.
		return os.Remove(c.path(dataDir + "/postmaster.pid"))
	}
	c.log.Info("stopping a left-over PostgreSQL server", "pid", pid)
	err := c.runProgram(ctx, "pg_ctl", "stop", "-D", c.path(dataDir), "-m", "fast", "-w", "-t", "30")
	if err != nil && c.postmasterPID() == pid && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return err
	}
	return nil // it may have ended by itself, between our look and pg_ctl's
}

// postmasterPID is the process that postmaster.pid names, 0 if there is none.
func (c cluster) postmasterPID() int {
	text, err := os.ReadFile(c.path(dataDir + "/postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return max(pid, 0)
}

// isServer reports whether a process is a server of this cluster. A zombie has
// no command line and counts as a server, because PostgreSQL counts it too and
// pg_ctl waits for its end.
func (c cluster) isServer(pid int) bool {
	line, err := commandLine(pid)
	return err != nil || line == "" || strings.Contains(line, c.path(dataDir))
}
