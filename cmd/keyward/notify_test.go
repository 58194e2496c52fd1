package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
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
			dir, err := os.MkdirTemp("", "kw") // short: a socket's path has at most 107 bytes
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
			t.Setenv("WATCHDOG_USEC", "60000000")
			r := launch(t, deployed(t), args...)
			var got []string
			until := func(state string) {
				t.Helper()
				for buf := make([]byte, 100); !slices.Contains(got, state); {
					n, err := socket.Read(buf)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(buf[:n]))
				}
			}
			until("READY=1")
			until("WATCHDOG=1")
			if slices.Contains(got, "STOPPING=1") {
				t.Error("it stops already")
			}
			r.stop()
			until("STOPPING=1")
		})
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
