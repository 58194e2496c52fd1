package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// listen listens on a Unix socket that only its owner may connect to: whoever can connect
// can have any service account's token signed. A socket that a dead process left is
// replaced; one that is served is an error.
func listen(path string) (net.Listener, error) {
	if strings.HasPrefix(path, "@") {
		return nil, errors.New("an abstract socket is open to every user of the machine: give a path")
	}
	listener, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && isAbandoned(path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		listener, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("permissions of the socket: %w", err), listener.Close())
	}
	return listener, nil
}

// isAbandoned reports whether path is a socket that nobody listens on.
func isAbandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close() // it was opened to see whether it can be
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
