package embedded

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// tieToParent has the kernel stop the server (a fast shutdown) when we end,
// however we end.
func tieToParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// commandLine returns the command line of a process.
func commandLine(pid int) (string, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return strings.ReplaceAll(string(text), "\x00", " "), err
}
