//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// fileLimit returns how many file descriptors this process may have, which Go raises to
// the hard limit; 0 if it is not known.
func fileLimit() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 1<<30 {
		return 0
	}
	return int(limit.Cur)
}

// sameOwner reports whether a file belongs to the owner of a directory, or to root.
func sameOwner(file, dir fs.FileInfo) bool {
	of, ok := file.Sys().(*syscall.Stat_t)
	owner, known := dir.Sys().(*syscall.Stat_t)
	return ok && known && (of.Uid == owner.Uid || of.Uid == 0)
}
