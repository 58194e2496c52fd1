//go:build unix

package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// cluster is a home with the binaries that serve it.
type cluster struct {
	*home
	bin    binaries
	params map[string]string
	follow string // the server to copy; empty: none
	log    *slog.Logger
}

// prepare creates the cluster if it is missing, and stops a left-over server.
func (c cluster) prepare(ctx context.Context) error {
	if c.majorVersion() == 0 {
		return c.initialise(ctx)
	}
	return c.endLeftover(ctx)
}

// initialise creates a cluster under a temporary name and renames it when it is
// complete.
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
	program := "initdb"
	if c.follow != "" {
		program, args = "pg_basebackup", []string{"-d", c.follow, "-D", c.path(initDir), "-R", "-X", "stream", "--checkpoint=fast", "--no-sync"}
	}
	if err := c.runProgram(ctx, program, args...); err != nil {
		return err
	}
	if err := os.Rename(c.path(initDir), c.path(dataDir)); err != nil {
		return err
	}
	c.log.Info("PostgreSQL cluster created", "dir", c.dir, "version", c.bin.major, "took", time.Since(begun))
	return nil
}

// patience bounds the wait for the processes of a killed server to end.
const patience = 15 * time.Second

// startServer starts the server and returns when it takes connections. After a crash
// it may take more than one try: PostgreSQL does not start while a process of
// the dead server still has its shared memory.
func (c cluster) startServer(ctx context.Context, socket string) (*process, error) {
	logTo, err := c.openLog()
	if err != nil {
		return nil, err
	}
	defer logTo.Close() // the server has its own by then
	crashed := c.postmasterPID() != 0
	giveUp := time.After(patience)
	for {
		proc, err := c.tryStart(ctx, socket, logTo)
		if err == nil || !crashed || !errors.Is(err, errEnded) {
			return proc, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-giveUp:
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}

// tryStart is one try to start the server.
func (c cluster) tryStart(ctx context.Context, socket string, logTo *os.File) (*process, error) {
	args := []string{"-D", c.path(dataDir)}
	for _, set := range c.serverSettings(socket) {
		args = append(args, "-c", set)
	}
	cmd := c.command(context.Background(), "postgres", args...)
	cmd.Stdout, cmd.Stderr = logTo, logTo
	proc, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	if err := proc.awaitReady(ctx, socketURL(socket)); err != nil {
		proc.stop(context.WithoutCancel(ctx))
		return nil, err
	}
	return proc, nil
}

// serverSettings returns the defaults, then the caller's settings, then the
// mandatory ones; later ones win.
func (c cluster) serverSettings(socket string) []string {
	sets := []string{"timezone=UTC", "log_timezone=UTC"}
	for _, name := range slices.Sorted(maps.Keys(c.params)) {
		sets = append(sets, name+"="+c.params[name])
	}
	return append(sets, "listen_addresses=", "port=5432", "unix_socket_permissions=0700",
		`unix_socket_directories="`+strings.ReplaceAll(socket, `"`, `""`)+`"`)
}

// runProgram runs one of the programs to its end.
func (c cluster) runProgram(ctx context.Context, program string, args ...string) error {
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
	cmd := exec.CommandContext(ctx, c.bin.path(program), args...) // #nosec G204 -- PostgreSQL's program, which the operator has installed
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + c.bin.dir + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = c.acct.processAttributes()
	return cmd
}
