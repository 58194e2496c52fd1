package main

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/db"
)

// A census is taken every censusInterval, and later if it took long, so that it
// costs at most a fiftieth of one core of the database.
const (
	censusInterval = 30 * time.Second
	censusRest     = 50
)

// census counts all keys and policies, range by range of tenants, in the process
// whose worker leads: the counts of several processes would be the same.
type census struct {
	mu     sync.Mutex
	counts *counts     // nil: none taken
	leads  func() bool // whether this process may show them
}

type counts struct {
	keys           map[keyGroup]int64
	withoutStandby int64
}

type keyGroup struct{ state, alg string }

var (
	keysDesc = prometheus.NewDesc("keyward_keys", "Keys by state and algorithm, counted every 30 s or more by the process that leads the workers.",
		[]string{"state", "alg"}, nil)
	withoutStandbyDesc = prometheus.NewDesc("keyward_policies_without_standby",
		"Policies without a standby key, counted like keyward_keys: their next rotation or revocation surprises verifiers.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c *census) Describe(descs chan<- *prometheus.Desc) {
	descs <- keysDesc
	descs <- withoutStandbyDesc
}

// Collect implements [prometheus.Collector].
func (c *census) Collect(metrics chan<- prometheus.Metric) {
	c.mu.Lock()
	n := c.counts
	c.mu.Unlock()
	if n == nil || !c.leads() {
		return
	}
	for group, count := range n.keys {
		metrics <- prometheus.MustNewConstMetric(keysDesc, prometheus.GaugeValue, float64(count), group.state, group.alg)
	}
	metrics <- prometheus.MustNewConstMetric(withoutStandbyDesc, prometheus.GaugeValue, float64(n.withoutStandby))
}

// takeCensuses counts while this process leads, until ctx is done.
func (a *app) takeCensuses(ctx context.Context) {
	pause := time.NewTimer(time.Second)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		if !a.worker.Leader() {
			a.census.show(nil)
			pause.Reset(time.Second)
			continue
		}
		began := time.Now()
		n, err := countEverything(ctx, a.db, policiesPerRead)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("counting keys for the metrics failed", "error", err)
		}
		a.census.show(n)
		pause.Reset(max(censusInterval, censusRest*time.Since(began)))
	}
}

func (c *census) show(n *counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = n
}

// countEverything counts in short transactions, each over as many policies as
// stretch says. It returns nil with an error.
func countEverything(ctx context.Context, d *db.DB, stretch int32) (*counts, error) {
	n := &counts{keys: map[keyGroup]int64{}}
	for after := uuid.Nil; after != uuid.Max; {
		err := d.AsPlatform(ctx, func(tx *db.Tx) error {
			until, err := tx.EndOfPolicies(ctx, after, stretch)
			if err != nil {
				return err
			}
			groups, err := tx.CountKeysByState(ctx, after, until)
			if err != nil {
				return err
			}
			lacking, err := tx.CountPoliciesWithoutStandby(ctx, after, until)
			if err != nil {
				return err
			}
			for _, g := range groups {
				n.keys[keyGroup{g.State, g.Alg}] += g.N
			}
			n.withoutStandby += lacking
			after = until
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}
