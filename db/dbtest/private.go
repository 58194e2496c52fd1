//go:build unix

package dbtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyward/keyward/db/embedded"
)

// startEmbedded runs a private cluster that is deleted when this process ends.
func startEmbedded(ctx context.Context) (*server, error) {
	dir, err := clusterDir()
	if err != nil {
		return nil, err
	}
	s, err := embedded.Start(ctx, embedded.Config{Dir: dir, Parameters: quick})
	if err != nil {
		os.RemoveAll(filepath.Dir(dir))
		return nil, err
	}
	r, err := deleteAtExit(s.Dir(), filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	keep := func() string {
		r.cancelDelete()
		return fmt.Sprintf("; its server ends with this process, and starts again with:\n\tpostgres -D %s/data -k /tmp -c listen_addresses=", s.Dir())
	}
	return &server{url: s.DSN(), keep: keep}, nil
}

// clusterDir names a directory for a cluster that any user can reach, and
// whose name leaves room for a socket's.
func clusterDir() (string, error) {
	temp := os.TempDir()
	if len(temp) > 60 {
		temp = "/tmp"
	}
	parent, err := os.MkdirTemp(temp, "keyward-test-")
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, "pg"), os.Chmod(parent, 0o711)
}

// deleteAtExit deletes a cluster and another directory when this process
// ends, after it has stopped the server if need be.
func deleteAtExit(cluster, parent string) (*reaper, error) {
	return atExit(`
		while read -r line; do word=$line; done
		pid=$1/data/postmaster.pid
		[ ! -e "$pid" ] || kill -INT "$(head -n 1 "$pid")"
		n=0
		while [ -e "$pid" ] && [ "$n" -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
		[ "$word" = keep ] || rm -rf -- "$1" "$2"`, cluster, parent)
}
