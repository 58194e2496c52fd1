package main

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The headroom delays the next collection and takes no memory. It runs in a process
// of its own, without a collection before, because memory that is used again is
// cleared, which makes it resident.
func TestHeadroomTakesNoMemory(t *testing.T) {
	const alone = "KEYWARD_TEST_ALONE"
	if os.Getenv(alone) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
		cmd.Env = append(os.Environ(), alone+"=1", "GOGC=off", "GOMEMLIMIT=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	before := resident(t)
	room := allocateHeadroom(func(string) string { return "" })
	debug.SetGCPercent(100)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.NextGC < 2*headroomBytes {
		t.Errorf("the next collection is at %d bytes", m.NextGC)
	}
	if after := resident(t); after > before+headroomBytes/2 && !raced() {
		t.Errorf("%d bytes are resident, %d were before", after, before)
	}
	runtime.KeepAlive(room)
}

func TestNoHeadroomForAnOperatorWhoDecides(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		getenv := func(asked string) string {
			if asked == name {
				return "1000"
			}
			return ""
		}
		if allocateHeadroom(getenv) != nil {
			t.Errorf("there is headroom in spite of %s", name)
		}
	}
}

// raced reports whether the race detector is built in, which makes most memory
// resident.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// resident returns the resident memory of this process in bytes.
func resident(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.ParseUint(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}
