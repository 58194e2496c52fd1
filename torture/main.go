// Command torture injects faults into a running Keyward and checks that it
// keeps its promises: three replicas, two workers, PostgreSQL with a standby, and
// PgBouncer, all of them started here, on the loopback interface, in one temporary directory.
//
//	go run . -duration 2m -seed 7
//
// It treats Keyward as a black box: it builds the program, talks to it by HTTP,
// and reads the database as a superuser. The order of faults follows from the
// seed. The exit code is 1 if any promise was broken, and 2 if the campaign
// itself could not be run.
//
// Internal to Keyward: no compatibility promise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	duration time.Duration // of faults under load; setting up and the last checks come on top
	seed     uint64
	report   string        // a Markdown file to write; empty: none
	program  string        // a keyward to use; empty: one is built
	previous string        // an earlier keyward, which serves until it is upgraded; git: built from there; none: no upgrade; empty: git, or none with -keyward
	failover bool          // a failover by Patroni at the end
	only     string        // comma-separated parts of fault names; empty: all faults
	soak     string        // a Markdown file to write with pictures of samples; empty: none
	gap      time.Duration // of load between two faults, at least
	pace     float64       // how many times slower than usual the clients are
	keep     bool
}

// errBroken means that the campaign ran and that Keyward broke a promise.
var errBroken = errors.New("a promise was broken")

func main() {
	var o options
	flag.DurationVar(&o.duration, "duration", 2*time.Minute, "how long faults are injected")
	flag.Uint64Var(&o.seed, "seed", 0, "decides the order of faults; 0: a new one, which is printed")
	flag.StringVar(&o.report, "report", "", "write the table of results into this Markdown file as well")
	flag.StringVar(&o.program, "keyward", "", "use this program instead of building one; its clock can be moved only if an earlier campaign built it (-keep)")
	flag.StringVar(&o.previous, "previous", "", "begin with this earlier program, and upgrade it under load; git: build one of an earlier commit; none: do not; default: git, or none if -keyward is given")
	flag.BoolVar(&o.failover, "failover", false, "at the end, kill the primary of a PostgreSQL under Patroni and etcd, under load (bench/fleet; as root)")
	flag.StringVar(&o.only, "only", "", "inject only faults whose name contains one of these, separated by commas")
	flag.StringVar(&o.soak, "soak", "", "take samples of memory, connections, tables and lateness, and write them into this Markdown file, with pictures beside it")
	flag.DurationVar(&o.gap, "gap", calm, "how long the load runs between two faults, at least")
	flag.Float64Var(&o.pace, "pace", 1, "how many times slower than usual the clients work, for machines that do other work")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory with the program and the logs")
	flag.Parse()
	if flag.NArg() > 0 || o.duration < 0 || o.gap < 0 || o.pace <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	switch err := run(ctx, o); {
	case errors.Is(err, errBroken):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(2)
	}
}

// run runs one campaign from beginning to end. Whatever happens, every process
// that it started is dead when it returns.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "keyward-torture-")
	if err != nil {
		return err
	}
	if o.keep {
		defer fmt.Fprintln(os.Stderr, "program and logs are in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL may run as another user
		return err
	}
	c, err := newCampaign(ctx, o, dir)
	if c != nil {
		defer c.close()
	}
	if err != nil {
		return err
	}
	return c.run(ctx)
}

// wanted reports whether -only admits a fault.
func (o options) wanted(name string) bool {
	if o.only == "" {
		return true
	}
	for part := range strings.SplitSeq(o.only, ",") {
		if strings.Contains(name, strings.TrimSpace(part)) {
			return true
		}
	}
	return false
}
