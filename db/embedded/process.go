//go:build unix

package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// process is a server process that we are the parent of.
type process struct {
	cmd     *exec.Cmd
	stopped atomic.Bool   // we asked it to end
	done    chan struct{} // closed after err is set
	err     error
}

// errEnded means that the server ended instead of taking connections.
var errEnded = errors.New("PostgreSQL ended while starting")

// startProcess starts cmd.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	tieToParent(cmd.SysProcAttr)
	started := make(chan error)
	go func() {
		// The tie is to the thread that starts the process, not to all of us:
		// the thread must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		if err := cmd.Wait(); !p.stopped.Load() {
			p.err = cmp.Or(err, errors.New("somebody else stopped it"))
		}
		close(p.done)
	}()
	return p, <-started
}

// stop ends the process: fast, then at once, then by force.
func (p *process) stop(ctx context.Context) {
	p.stopped.Store(true)
	if p.signal(ctx, syscall.SIGINT, stopGrace) {
		return
	}
	if p.signal(context.Background(), syscall.SIGQUIT, 5*time.Second) {
		return
	}
	p.signal(context.Background(), syscall.SIGKILL, time.Minute)
}

// signal sends sig and reports whether the process has ended in time.
func (p *process) signal(ctx context.Context, sig syscall.Signal, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_ = p.cmd.Process.Signal(sig) // it may have ended
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// awaitReady returns when the server takes connections. Recovery after a crash
// can take long; only ctx limits it.
func (p *process) awaitReady(ctx context.Context, url string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.done:
			return fmt.Errorf("%w: %w", errEnded, p.err)
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL did not start in time: %w", errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

// socketURL is the URL for a socket directory. Everything is said that the reader's
// environment (PGPORT, PGUSER and so on) could say otherwise.
func socketURL(socket string) string {
	// libpq takes "+" for itself, not for a space.
	host := strings.NewReplacer("%2F", "/", "+", "%20").Replace(url.QueryEscape(socket))
	return "postgres://postgres@/postgres?host=" + host + "&port=5432&sslmode=disable"
}
