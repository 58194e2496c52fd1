// Command beside measures Keyward and a bare server beside each other: each a process of
// its own with default settings, by turns on the first core, with wrk on the second.
// Internal to Keyward: no compatibility promise. From the directory bench:
//
//	go run ./beside
//
// It prints what kind of machine this is, a table of both servers and their ratios. It
// needs two cores, taskset, wrk and PostgreSQL's programs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type options struct {
	keyward  string
	rounds   int
	duration time.Duration
	conns    int
	tenants  int
	only     string
}

func main() {
	var o options
	var y yardstick
	flag.StringVar(&o.keyward, "keyward", "", "the program; built from .. if not given")
	flag.IntVar(&o.rounds, "rounds", 3, "how often the servers take turns")
	flag.DurationVar(&o.duration, "duration", 5*time.Second, "length of a turn")
	flag.IntVar(&o.conns, "connections", 32, "connections of wrk")
	flag.IntVar(&o.tenants, "tenants", 100_000, "how many tenants have JWK Sets")
	flag.StringVar(&o.only, "only", "", "measure only requests whose name begins with this")
	flag.StringVar(&y.setURL, "yardstick", "", "be the bare server, with the JWK Set at this URL")
	flag.StringVar(&y.address, "address", "", "the bare server's address")
	flag.StringVar(&y.database, "database", "", "the bare server's database")
	flag.Parse()
	y.tenants = o.tenants
	if err := run(o, y); err != nil {
		fmt.Fprintln(os.Stderr, "beside:", err)
		os.Exit(1)
	}
}

func run(o options, y yardstick) error {
	if y.setURL != "" {
		return y.serve() // a signal ends it at once
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return measure(ctx, o)
}

// measure lets both servers take turns with each kind of request.
func measure(ctx context.Context, o options) error {
	printMemory()
	s, err := startServers(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Print("\n| request | server | per second | p50, p99, p99.9 ms | CPU µs a request | bytes allocated a request | collections a second | RSS MB |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range s.requests() {
		if !strings.HasPrefix(r.name, o.only) {
			continue
		}
		var sums [2]turn
		for range o.rounds {
			for i, server := range []*server{s.bare, r.keyward} {
				t, err := s.takeTurn(ctx, o, server, r)
				if err != nil {
					return err
				}
				fmt.Printf("| %s | %s | %.0f | %.1f, %.1f, %.1f | %.1f | %.0f | %.1f | %.0f |\n",
					r.name, server.name, t.perSecond(), t.p50, t.p99, t.p999, t.cpuMicros(), t.allocated(), t.collectionRate(), t.resident)
				sums[i].add(t)
			}
		}
		bare, keyward := sums[0], sums[1]
		fmt.Printf("| **%s** | ratio | **%.2f** | p99 %.1f | %.2f | %.2f | | |\n", r.name, keyward.perSecond()/bare.perSecond(),
			keyward.p99/bare.p99, bare.cpuMicros()/keyward.cpuMicros(), keyward.allocated()/bare.allocated())
	}
	return nil
}
