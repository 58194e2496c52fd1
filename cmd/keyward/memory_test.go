package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// maxLiveHeap bounds what a process keeps that has just begun to serve, in bytes: 5 MB,
// and 3 MB for the packages of the tests.
const maxLiveHeap = 8 << 20

// What only some requests need is loaded when the first of them comes. It runs in a
// process of its own, whose heap is nobody else's.
func TestServingKeepsLittleInMemory(t *testing.T) {
	if raced() {
		t.Skip("the race detector changes the size of everything")
	}
	const url, master = "KEYWARD_TEST_ALONE_URL", "KEYWARD_TEST_ALONE_MASTER"
	if os.Getenv(url) == "" {
		env := deployed(t)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
		cmd.Env = append(os.Environ(), url+"="+env["KEYWARD_DATABASE_URL"], master+"="+env["KEYWARD_MASTER_KEY"], "GOGC=", "GOMEMLIMIT=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, text, _ := strings.Cut(string(out), "live heap: ")
		digits, _, _ := strings.Cut(text, " bytes")
		if live, err := strconv.Atoi(digits); err != nil || live < 1<<20 || live > maxLiveHeap {
			t.Errorf("%d bytes are live, %d are allowed (%v)\n%s", live, maxLiveHeap, err, out)
		}
		return
	}
	r := launch(t, environ{
		"KEYWARD_DATABASE_URL": os.Getenv(url), "KEYWARD_MASTER_KEY": os.Getenv(master), "KEYWARD_ADDR": "127.0.0.1:0",
	}, "serve", "--migrate", "--log-format=text")
	r.until(t, "msg=serving")
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one only marks what has finalizers and pools
	runtime.ReadMemStats(&m)
	t.Logf("live heap: %d bytes", int(m.HeapAlloc)-headroomBytes)
}
