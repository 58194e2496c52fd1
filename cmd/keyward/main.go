// Command keyward is the only program of Keyward: the service, its worker and the
// operator's tools.
//
// Internal to Keyward: no compatibility promise. Its interface is the command
// line, described in docs/cli.md. It may import every other package. It trusts its user: access to
// the database's password and to the master key makes one the operator.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(runProgram(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
