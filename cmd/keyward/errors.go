package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/embedded"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// usageError is a mistake in the command line or the environment; the exit code
// is 2.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

// errReported ends the program with exit code 1 and prints nothing more.
var errReported = errors.New("told already")

// badValue rejects a setting. It never quotes the value, which may be secret.
func badValue(name, accepts string) error {
	return &usageError{fmt.Sprintf("%s must be %s", name, accepts)}
}

// wrongUsage turns an error of the parser into a usageError.
func wrongUsage(err error) error {
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return usage
	}
	return &usageError{err.Error() + "; see keyward --help"}
}

// hints advise on errors whose own text does not.
var hints = []struct {
	err  error
	hint string
}{
	{db.ErrUnavailable, "is PostgreSQL running, and is KEYWARD_DATABASE_URL right? keyward doctor checks more"},
	{custody.ErrWrongMasterKey, "set KEYWARD_MASTER_KEY to the master key of this database; keyward master status lists the registered ones"},
	{custody.ErrNoMasterKey, "keyward serve registers the one that KEYWARD_MASTER_KEY names"},
	{seal.ErrNotMasterKey, "restore the file from a backup; it cannot be created again"},
	{embedded.ErrInUse, "stop that process, or use another --data-dir"},
	{embedded.ErrUnreachable, "move the data directory, or run keyward as its owner"},
	{tenant.ErrNoPlatform, "set KEYWARD_MASTER_KEY so that it can be created, or start keyward serve once"},
	{tenant.ErrNotFound, "--tenant takes a slug or an id"},
	{syscall.EADDRINUSE, "stop the process that listens there, or choose another address with --addr (KEYWARD_ADDR)"},
	{syscall.EACCES, "check the permissions of the file and its directories"},
}

// errorText returns the text of an error with its hint.
func errorText(err error) string {
	if hint := outcomeHint(err); hint != "" {
		return err.Error() + "\n  " + hint
	}
	for _, h := range hints {
		if errors.Is(err, h.err) {
			return err.Error() + "\n  " + h.hint
		}
	}
	return err.Error()
}

// outcomeHint says of a failed change whether it was made, and how to find out; empty for
// other errors.
func outcomeHint(err error) string {
	if key := changeKey(err); key != "" {
		return "it may have been changed; the same command with --idempotency-key " + key + " makes the change or returns the first answer"
	}
	if p := (*client.Problem)(nil); errors.As(err, &p) && p.Outcome == client.OutcomeUnchanged {
		return "nothing was changed"
	}
	return ""
}

// changeKey returns the Idempotency-Key of a change whose outcome is unknown; empty for
// other errors.
func changeKey(err error) string {
	if p := (*client.Problem)(nil); errors.As(err, &p) && p.Outcome == client.OutcomeUnknown {
		return p.IdempotencyKey
	}
	if lost := (*client.NoAnswerError)(nil); errors.As(err, &lost) {
		return lost.IdempotencyKey
	}
	return ""
}
