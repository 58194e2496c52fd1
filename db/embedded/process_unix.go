//go:build unix && !linux

package embedded

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// tieToParent does nothing: only Linux can. A server that outlives us is
// stopped by the next start.
func tieToParent(*syscall.SysProcAttr) {}

// commandLine returns the command line of a process.
func commandLine(pid int) (string, error) {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return strings.TrimSpace(string(out)), err
}
