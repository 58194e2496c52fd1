package main

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/keyward/keyward/internal/sdnotify"
)

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
		sdnotify.Notify("WATCHDOG=1")
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
