package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/embedded"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// usageError is a mistake of whoever typed the command or set the variables.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

// errTold ends the program with exit code 1 after everything has been said.
var errTold = errors.New("told already")

// badValue refuses a setting. It never shows the value, which may be secret.
func badValue(name, accepts string) error {
	return &usageError{fmt.Sprintf("%s must be %s", name, accepts)}
}

// wrongUsage turns what the parser says into a usageError.
func wrongUsage(err error) error {
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return usage
	}
	return &usageError{err.Error() + "; see keyward --help"}
}

// hints say what to do about an error, where its own text does not.
var hints = []struct {
	err  error
	hint string
}{
	{db.ErrUnavailable, "is PostgreSQL running, and is KEYWARD_DATABASE_URL right? keyward doctor looks closer"},
	{custody.ErrWrongMasterKey, "point KEYWARD_MASTER_KEY at the master key this database was made with; keyward master status lists what it needs"},
	{custody.ErrNoMasterKey, "keyward serve registers the one that KEYWARD_MASTER_KEY names"},
	{seal.ErrNotMasterKey, "restore the file from a backup; it cannot be made again"},
	{embedded.ErrInUse, "stop that process, or use another --data-dir"},
	{embedded.ErrUnreachable, "move the data directory, or run keyward as the user it belongs to"},
	{tenant.ErrNoPlatform, "set KEYWARD_MASTER_KEY so that it can be made, or start keyward serve once"},
	{tenant.ErrNotFound, "--tenant takes a slug or an id"},
	{syscall.EADDRINUSE, "stop the process that listens there, or choose another address with --addr (KEYWARD_ADDR)"},
	{syscall.EACCES, "check who may read and write there"},
}

// explain is an error with what to do about it.
func explain(err error) string {
	for _, h := range hints {
		if errors.Is(err, h.err) {
			return err.Error() + "\n  " + h.hint
		}
	}
	return err.Error()
}
