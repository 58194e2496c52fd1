// Package sdnotify tells systemd the state of a service. It is internal to Keyward: no
// compatibility promise.
package sdnotify

import (
	"net"
	"os"
)

// Notify sends a state, as in READY=1, to the service manager, as sd_notify(3) does.
// Without one, and on systems without such sockets, it does nothing.
func Notify(state string) {
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
