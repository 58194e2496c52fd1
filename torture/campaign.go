package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"
)

// campaign is one run: what was started, what is known, what was seen.
type campaign struct {
	options    options
	dir        string
	starter    *starter
	postgres   *postgres
	standby    *postgres // nil: none
	pooler     *pooler   // nil: none
	program    string
	previous   string // the program that serves at first; empty: program
	upgraded   bool
	frozen     []span   // while PostgreSQL was
	lacks      []string // what faults need and this machine has not
	clockMoves bool     // the program reads its clock's offset
	key        string   // of a platform_admin
	http       *http.Client

	processes, replicas, workers []*process
	tenants                      []*tenant
	verifiers                    map[*tenant][]*verifier

	record *record
	truth  *truth
	seen   *sightings
	clocks *clockWatch
	trust  *trustWatch
	linear *linear

	told      map[string]bool // by checkAll
	checkedAt time.Time       // by checkAll: what it finds has happened since

	watching chan struct{} // closed at the end
}

// newCampaign starts everything. What it returns must be closed, also where
// there is an error.
func newCampaign(ctx context.Context, o options, dir string) (*campaign, error) {
	c := &campaign{
		options: o, dir: dir, starter: newStarter(), record: newRecord(), truth: newTruth(), seen: newSightings(), clocks: &clockWatch{},
		verifiers: map[*tenant][]*verifier{}, told: map[string]bool{}, checkedAt: time.Now(), watching: make(chan struct{}),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
	}
	c.trust, c.linear = &trustWatch{campaign: c}, &linear{campaign: c}
	c.record.say("seed %d; building Keyward and starting PostgreSQL in %s", o.seed, dir)
	if err := c.prepare(ctx); err != nil {
		return c, err
	}
	if err := c.startProcesses(ctx); err != nil {
		return c, err
	}
	go c.record.watchMachine(c.watching)
	return c, c.makeTenants(ctx)
}

// leaveOut notes that faults which need something cannot be injected, and why.
func (c *campaign) leaveOut(need, why string) {
	c.lacks = append(c.lacks, need)
	c.record.note("%s", why)
}

func (c *campaign) close() {
	close(c.watching)
	c.endAll()
}

// run injects faults under load for the time that was asked for, checks
// everything once more without load, and prints the results.
func (c *campaign) run(ctx context.Context) error {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	samples := newSampler(c)
	wait := c.load(loading, samples)
	err := c.injectFaults(ctx)
	stop()
	wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	if err := c.lastChecks(ctx); err != nil {
		return err
	}
	text := c.report()
	fmt.Print(text)
	if c.options.report != "" {
		if err := os.WriteFile(c.options.report, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if c.options.soak != "" {
		if err := samples.write(c.options.soak); err != nil {
			return err
		}
	}
	if len(c.record.broken()) > 0 {
		return errBroken
	}
	return nil
}

// load starts the writers, the readers, the recorded clients and, for a soak, the sampler.
func (c *campaign) load(ctx context.Context, samples *sampler) (wait func()) {
	var all sync.WaitGroup
	if c.options.soak != "" {
		all.Go(func() { samples.run(ctx) })
	}
	random := func(n int) *rand.Rand { return rand.New(rand.NewPCG(c.options.seed, uint64(n))) }
	var writers []*writer
	for i, t := range c.tenants {
		if t.byHand {
			w := &writer{campaign: c, tenant: t, random: random(100 + i), lifetimes: []int{tokenLife}, names: []string{""}}
			writers = append(writers, w)
			all.Go(func() { w.work(ctx) })
		}
	}
	for i := range c.replicas {
		r := &reader{campaign: c, replica: i, random: random(200 + i), known: map[string]time.Time{}}
		all.Go(func() { r.read(ctx) })
		client := random(300 + i)
		all.Go(func() { c.linear.work(ctx, i, client) })
	}
	return func() {
		all.Wait()
		c.trust.pending.Wait()
		for _, w := range writers {
			w.settleLast()
		}
	}
}

// rest is how long a client pauses between two requests, at the campaign's pace.
func (c *campaign) rest(ctx context.Context, d time.Duration) error {
	return pause(ctx, time.Duration(float64(d)*c.options.pace))
}

// calm is how long the load runs between two faults, at least, unless -gap says otherwise.
const calm = 1500 * time.Millisecond

func (c *campaign) injectFaults(ctx context.Context) error {
	plan := newSchedule(c.options, c.clockMoves, c.postgres.small, c.lacks...)
	if !c.postgres.small {
		c.record.note("The disk was never full: a small file system could not be mounted here (that takes root).")
	}
	end := time.Now().Add(c.options.duration)
	late := end.Add(-c.options.duration / 3)
	for time.Now().Before(end) && ctx.Err() == nil {
		if err := pause(ctx, c.options.gap); err != nil {
			return err
		}
		next := plan.next(time.Now().After(late))
		if next == nil {
			return pause(ctx, time.Until(end)) // nothing but load
		}
		if err := c.strike(ctx, next); err != nil {
			return err
		}
		if _, err := c.checkAll(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// lastChecks looks at everything once more when the load has ended.
func (c *campaign) lastChecks(ctx context.Context) error {
	c.record.say("the last checks")
	h, err := c.checkAll(ctx)
	if err != nil {
		return err
	}
	c.linear.confirm(h)
	c.verifyHistories(ctx, h)
	c.countStandbyReads(ctx)
	c.failover(ctx)
	c.checkLogs()
	return nil
}
