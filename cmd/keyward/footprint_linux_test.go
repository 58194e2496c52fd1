package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
)

// A process that begins to serve keeps little of the program's file in memory, and goes on
// with what it dropped.
func TestProgramPagesAreDropped(t *testing.T) {
	before := programPages(t)
	dropProgramPages()
	if after := programPages(t); before == 0 || after > before/2 {
		t.Errorf("%d kB of the program's file are in memory, and %d kB after they were dropped", before, after)
	}
}

// programPages returns how much of the program's file this process has in memory, in kB.
func programPages(t *testing.T) (resident int) {
	t.Helper()
	own := map[string]bool{}
	if err := eachProgramMapping(func(from, to uintptr) { own[fmt.Sprintf("%08x-%08x", from, to)] = true }); err != nil {
		t.Fatal(err)
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer smaps.Close()
	counts := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		bounds, _, _ := strings.Cut(lines.Text(), " ")
		if strings.Contains(bounds, "-") {
			counts = own[bounds]
		}
		var size int
		if n, _ := fmt.Sscanf(lines.Text(), "Rss: %d kB", &size); n == 1 && counts {
			resident += size
		}
	}
	return resident
}
