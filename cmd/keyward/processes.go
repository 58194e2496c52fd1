package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/seal"
)

// processID identifies this start of the program in the table of processes.
var processID = uuid.New()

// processInfo describes this process for the table of processes.
func (a *app) processInfo() db.ProcessInfo {
	kind, address := "serve", a.cfg.addr
	if a.healthOnly {
		kind, address = "worker", a.cfg.adminAddr
	}
	return db.ProcessInfo{ID: processID, Name: process, Kind: kind, Version: version, Address: address, MasterKeys: a.custody.OpenableVersions(context.Background())}
}

// confirmTimeout is how long a rotation of the master key waits for the live processes to
// say what they can open.
const confirmTimeout = 5 * time.Second

// missingVersionError means that live processes cannot open the next version of the master
// key.
type missingVersionError struct {
	uri, version string
	names        []string
}

func (e *missingVersionError) Error() string {
	return fmt.Sprintf("version %s of %s cannot be opened by: %s\n"+
		"  copy the file there (keyward master add has made the version, nothing uses it yet), wait 3 s, and run this again;\n"+
		"  --force rotates all the same: these processes then fail until they have the file",
		e.version, seal.Redact(e.uri), strings.Join(e.names, ", "))
}

// checkOpenable returns a *missingVersionError if a live process cannot open a version of
// the master key. A key of a KMS needs no copy. moved is set for another URI than the
// current one, of which processes do not report what they can open: a new file is there for
// those on this machine, and of a variable nothing is known.
func checkOpenable(ctx context.Context, d *db.DB, moved bool, uri, version string) error {
	scheme, _, _ := strings.Cut(uri, ":")
	if scheme != "file" && (scheme != "env" || moved) {
		return nil
	}
	live, err := d.LiveProcesses(ctx, confirmTimeout)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range live {
		host, _, _ := strings.Cut(p.Name, "/")
		switch {
		case slices.Contains(p.MasterKeys, version):
		case moved && host == hostName(): // it opens the new file by its endorsement
		default:
			names = append(names, p.Name)
		}
	}
	if len(names) > 0 {
		return &missingVersionError{uri, version, names}
	}
	return nil
}
