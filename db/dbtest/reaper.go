//go:build unix

package dbtest

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// reaper is a shell that outlives this process to clear up after it. A test
// binary has no hook for its end, and none would survive SIGKILL; but the
// kernel closes its files.
type reaper struct {
	pipe *os.File      // its other end is the shell's standard input
	done chan struct{} // closed when the script has ended
}

// reapers keeps the pipes open: an unreachable file would be closed early.
var reapers struct {
	sync.Mutex
	all []*reaper
}

// atExit starts a shell for a script that reads its input to the end before it
// does anything: the end is that of this process.
func atExit(script string, args ...string) (*reaper, error) {
	in, pipe, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "reaper"}, args...)...)
	cmd.Dir = "/"
	cmd.Stdin = in                                        // and no output: go test waits for who holds its own
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us
	if err := cmd.Start(); err != nil {
		pipe.Close()
		return nil, err
	}
	r := &reaper{pipe: pipe, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		_ = cmd.Wait()
	}()
	reapers.Lock()
	defer reapers.Unlock()
	reapers.all = append(reapers.all, r)
	return r, nil
}

// now runs the script at once.
func (r *reaper) now() {
	r.pipe.Close()
	<-r.done
}

// cancelDelete tells the script to keep the database.
func (r *reaper) cancelDelete() { fmt.Fprintln(r.pipe, "keep") }
