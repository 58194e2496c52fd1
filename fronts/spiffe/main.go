// Command keyward-spiffe-bundle serves the published keys of tenants of Keyward as SPIFFE
// trust bundles (SPIFFE Trust Domain and Bundle, section 4) at bundle endpoints (SPIFFE
// Federation, section 5); docs/fronts.md tells how to set it up. It holds no key of a tenant
// and needs no credential. It is a module of its own, so that nobody else inherits the SPIFFE
// library that its tests use. It is internal to Keyward: no compatibility promise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, os.Args[1:], os.Getenv, log); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			log.Error("the bundle endpoint has ended", "error", err)
		}
		stop()
		os.Exit(1)
	}
}

// run serves until ctx is done. It returns an error at once if Keyward cannot be reached or
// a trust domain cannot be served.
func run(ctx context.Context, args []string, getenv func(string) string, log *slog.Logger) error {
	o := options{domains: map[string]string{}, pins: map[string][]string{}}
	flags := flag.NewFlagSet("keyward-spiffe-bundle", flag.ContinueOnError)
	flags.StringVar(&o.url, "url", getenv("KEYWARD_URL"), "Connect to this Keyward (KEYWARD_URL).")
	flags.Func("trust-domain", "Serve the bundle of a trust domain from the keys of a tenant: `name=tenant`, the tenant by id or slug. Repeat it for more.", o.addDomain)
	flags.Func("pin", "Accept for a trust domain only sets in the chain of the key with this RFC 7638 thumbprint: `name=thumbprint`. Repeat it for more.", o.addPin)
	flags.StringVar(&o.state, "state", "", "Keep the last accepted set of each pinned trust domain in this `directory`.")
	flags.StringVar(&o.certFile, "tls-cert", "", "Use the certificate chain in this PEM `file`.")
	flags.StringVar(&o.keyFile, "tls-key", "", "Use the private key of the certificate in this PEM `file`.")
	addr := flags.String("addr", ":8443", "Listen on this address.")
	showVersion := flags.Bool("version", false, "Print the version and end.")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *showVersion {
		_, err := fmt.Println("keyward-spiffe-bundle", version)
		return err
	}
	if flags.NArg() > 0 {
		return errors.New("give nothing but flags")
	}
	f, err := newFront(ctx, o, log)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	return f.serve(ctx, listener)
}
