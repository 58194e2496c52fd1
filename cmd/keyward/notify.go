package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"
)

// notifySystemd sends a state to the service manager, as sd_notify(3) does. Without
// one, and on systems without such sockets, it does nothing.
func notifySystemd(state string) {
	socket := os.Getenv("NOTIFY_SOCKET") // systemd's, not a setting
	if socket == "" {
		return
	}
	conn, err := net.Dial("unixgram", socket) // #nosec G704 -- the socket that the service manager names
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state)) // nobody could be told
}

// feedWatchdog tells systemd twice per WatchdogSec that the process lives, until ctx
// is done.
func feedWatchdog(ctx context.Context) {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return
	}
	tick := time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
	defer tick.Stop()
	for {
		notifySystemd("WATCHDOG=1")
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
