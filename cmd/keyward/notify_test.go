package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// systemd is told when requests are served, that the process lives, and when it
// stops; the same for a worker.
func TestServiceManagerIsNotified(t *testing.T) {
	for name, args := range map[string][]string{
		"serve": {"serve", "--no-worker"}, "worker": {"worker"}, "listening": {"worker", "--admin-addr=127.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			manager := newServiceManager(t)
			r := launch(t, deployed(t), args...)
			manager.until(t, "READY=1")
			manager.until(t, "WATCHDOG=1")
			if slices.Contains(manager.states, "STOPPING=1") {
				t.Error("it stops already")
			}
			r.stop()
			manager.until(t, "STOPPING=1")
		})
	}
}

// serviceManager is the socket of a service manager, as systemd has it.
type serviceManager struct {
	socket *net.UnixConn
	states []string
}

// newServiceManager listens until the end of the test.
func newServiceManager(t *testing.T) *serviceManager {
	t.Helper()
	dir, err := os.MkdirTemp("", "kw") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	t.Setenv("WATCHDOG_USEC", "60000000")
	return &serviceManager{socket: socket}
}

// until waits for a state.
func (m *serviceManager) until(t *testing.T, state string) {
	t.Helper()
	for buf := make([]byte, 200); !slices.Contains(m.states, state); {
		n, err := m.socket.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		m.states = append(m.states, strings.Split(string(buf[:n]), "\n")...)
	}
}

// SIGTERM drains by default, Ctrl-C does not, and a setting holds for both.
func TestDrainTime(t *testing.T) {
	for _, c := range []struct {
		setting time.Duration
		cause   error
		want    time.Duration
	}{
		{-1, terminated{}, defaultDrainDelay}, {-1, context.Canceled, 0}, {0, terminated{}, 0}, {time.Minute, errors.New("other"), time.Minute},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(c.cause)
		below, stop := context.WithCancel(ctx)
		stop()
		a := app{cfg: config{drainDelay: c.setting}}
		if got := a.drainTime(below); got != c.want {
			t.Errorf("setting %v, cause %v: %v, want %v", c.setting, c.cause, got, c.want)
		}
	}
}
