//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSocketDir is the longest directory a socket can be in: sun_path has 104
// bytes on the BSDs and macOS, 108 on Linux, with ".s.PGSQL.5432" and a NUL.
const maxSocketDir = 104 - len("/.s.PGSQL.5432") - 1

// lockDirectory takes the lock in dir, which the kernel gives back when we end.
func (h *home) lockDirectory(dir string) error {
	name := filepath.Join(dir, lockFile)
	// The directory may belong to another user: no link of theirs is followed.
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", name, err)
		}
		pid, _ := io.ReadAll(io.LimitReader(f, 20)) // for the message only
		return fmt.Errorf("%w: %s (process %s)", ErrInUse, dir, strings.TrimSpace(string(pid)))
	}
	h.locks = append(h.locks, f)
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	return err
}

// close gives the home back.
func (h *home) close() {
	if h.temp != "" {
		os.RemoveAll(h.temp)
		h.temp = ""
	}
	for _, f := range h.locks {
		f.Close()
	}
	h.locks = nil
}

// openSocketDir makes the private directory the server's socket is in.
func (h *home) openSocketDir() (string, error) {
	dir := h.path(runDir)
	// A comma separates hosts in a DSN.
	if len(dir) > maxSocketDir || strings.Contains(dir, ",") {
		return h.tempSocketDir()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, h.acct.changeOwner(dir)
}

// tempSocketDir uses /tmp itself: $TMPDIR can be as long and as private.
func (h *home) tempSocketDir() (dir string, err error) {
	if h.temp, err = os.MkdirTemp("/tmp", "keyward-"); err != nil {
		return "", err
	}
	return h.temp, h.acct.changeOwner(h.temp)
}

// openLog starts a new log and keeps the one before.
func (h *home) openLog() (*os.File, error) {
	name := h.path(logFile)
	os.Rename(name, name+".old") // there may be none
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
}

// logTail is the end of the server's log, to be put behind an error.
func (h *home) logTail() string {
	text, err := os.ReadFile(h.path(logFile))
	if err != nil || len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = lines[max(0, len(lines)-5):]
	return "\nlast lines of " + h.path(logFile) + ":\n\t" + strings.Join(lines, "\n\t")
}
