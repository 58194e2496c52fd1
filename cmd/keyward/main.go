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
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Stop(signals) // a second signal ends the process at once
		if s == syscall.SIGTERM {
			cancel(terminated{})
		}
		cancel(context.Canceled)
	}()
	os.Exit(runProgram(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
