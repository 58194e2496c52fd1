// Command fleet tries Keyward on more than one machine's worth of processes, on
// one machine, and prints what it saw. Internal to Keyward: no compatibility
// promise. From the directory bench:
//
//	go run ./fleet failover   # PostgreSQL by Patroni and etcd, the primary is killed
//	go run ./fleet replicas   # several processes behind HAProxy, keys are revoked
//
// It needs Debian's packages postgresql, patroni, etcd-server and haproxy, and
// root, since PostgreSQL's processes run as another user. All it leaves behind
// is a directory in /tmp, and only with -keep.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	keyward  string // the program; built if empty
	keep     bool
	tenants  int
	replicas int
	before   time.Duration // under load until something happens
	ttl      int           // of Patroni's leadership, in seconds
	wait     int           // of Patroni's loop, in seconds
}

func main() {
	var o options
	flag.StringVar(&o.keyward, "keyward", "", "the program; built from .. if not given")
	flag.BoolVar(&o.keep, "keep", false, "leave the directory with logs and data")
	flag.IntVar(&o.tenants, "tenants", 50, "how many tenants")
	flag.IntVar(&o.replicas, "replicas", 3, "how many processes serve")
	flag.DurationVar(&o.before, "before", 15*time.Second, "how long the load runs before the primary is killed, or in all")
	flag.IntVar(&o.ttl, "ttl", 20, "Patroni's ttl in seconds")
	flag.IntVar(&o.wait, "loop-wait", 2, "Patroni's loop_wait in seconds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	trials := map[string]func(context.Context, *site) error{"failover": failover, "replicas": replicas}
	trial, known := trials[flag.Arg(0)]
	if !known || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: fleet [flags] failover|replicas")
		os.Exit(2)
	}
	if err := run(ctx, o, trial); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, trial func(context.Context, *site) error) error {
	s, err := newSite(o)
	if err != nil {
		return err
	}
	defer s.close()
	return trial(ctx, s)
}
