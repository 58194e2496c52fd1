// Command keyward is the whole of Keyward in one program: the service, its
// worker, and what an operator needs beside it.
//
// It is the only package that sees all others. It trusts whoever starts it:
// who knows the database's password and can read the master key is the
// operator.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from then on a signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
