package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cluster is a home with the binaries that serve it.
type cluster struct {
	*home
	bin    binaries
	params map[string]string
	log    *slog.Logger
}

// prepare leaves a cluster that no server runs on.
func (c cluster) prepare(ctx context.Context) error {
	if c.major() == 0 {
		return c.initialise(ctx)
	}
	return c.endLeftover(ctx)
}

// initialise makes a new cluster. One that is not finished never gets the name
// of one that is.
func (c cluster) initialise(ctx context.Context) error {
	begun := time.Now()
	if err := os.RemoveAll(c.path(initDir)); err != nil {
		return err
	}
	args := []string{
		"-D", c.path(initDir), "--username=postgres", "--auth=trust",
		"--no-locale", "--encoding=UTF8",
	}
	if c.params["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	if err := c.run(ctx, "initdb", args...); err != nil {
		return err
	}
	if err := os.Rename(c.path(initDir), c.path(dataDir)); err != nil {
		return err
	}
	c.log.Info("made a PostgreSQL cluster", "dir", c.dir, "version", c.bin.major, "took", time.Since(begun))
	return nil
}

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
	c.log.Info("stopping a PostgreSQL server that was left over", "pid", pid)
	err := c.run(ctx, "pg_ctl", "stop", "-D", c.path(dataDir), "-m", "fast", "-w", "-t", "30")
	if err != nil && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return err
	}
	return nil
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

// launch starts the server. It may not take connections yet.
func (c cluster) launch(socket string) (*process, error) {
	logTo, err := c.openLog()
	if err != nil {
		return nil, err
	}
	defer logTo.Close() // the server has its own by then
	args := []string{"-D", c.path(dataDir)}
	for _, set := range c.settings(socket) {
		args = append(args, "-c", set)
	}
	cmd := c.command(context.Background(), "postgres", args...)
	cmd.Stdout, cmd.Stderr = logTo, logTo
	return startProcess(cmd, c.home.close)
}

// settings are those of the caller, after the defaults and before what must be.
func (c cluster) settings(socket string) []string {
	sets := []string{"timezone=UTC", "log_timezone=UTC"}
	for _, name := range slices.Sorted(maps.Keys(c.params)) {
		sets = append(sets, name+"="+c.params[name])
	}
	return append(sets, "listen_addresses=", "port=5432", "unix_socket_permissions=0700",
		`unix_socket_directories="`+strings.ReplaceAll(socket, `"`, `""`)+`"`)
}

// run runs one of the programs to its end.
func (c cluster) run(ctx context.Context, program string, args ...string) error {
	cmd := c.command(ctx, program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, errors.Join(ctx.Err(), err), bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// command is a program run as the cluster's user, untouched by our environment
// (PGDATA, PGPORT, LC_ALL and so on) and from a directory that user can enter.
func (c cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.bin.path(program), args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + c.bin.dir + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = c.acct.attr()
	return cmd
}
