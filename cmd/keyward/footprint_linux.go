package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// dropProgramPages takes the pages of the program's own file out of this process: the
// start touches most of them, and what serves touches a third. What is needed again is
// mapped again, from the kernel's cache, and what is not the kernel may have back. It does
// what it can, for nothing but memory depends on it.
func dropProgramPages() {
	const dontNeed = 4 // MADV_DONTNEED, of which a mapping that nobody wrote loses nothing
	_ = eachProgramMapping(func(from, to uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, dontNeed)
	})
}

// eachProgramMapping calls do with the bounds of each mapping of the program's file that
// is not writable.
func eachProgramMapping(do func(from, to uintptr)) error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s ", &from, &to, &mode); err != nil {
			return err
		}
		if !strings.Contains(mode, "w") && strings.HasSuffix(lines.Text(), " "+program) {
			do(from, to)
		}
	}
	return lines.Err()
}
