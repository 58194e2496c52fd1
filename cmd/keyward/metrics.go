package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyward/keyward/keys/moves"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// counters are what the worker of this process has done since it started.
type counters struct{ rotated, created, expired, purged, failed atomic.Int64 }

func (c *counters) add(d moves.Done) {
	c.rotated.Add(int64(d.Rotated))
	c.created.Add(int64(d.Created))
	c.expired.Add(int64(d.Expired))
	c.purged.Add(int64(d.Purged))
	c.failed.Add(int64(d.Failed))
}

// backlogFor is how long a count of the backlog is good: anybody who may read
// /metrics may read it as often as they like.
const backlogFor = 5 * time.Second

// newMetrics registers what this package knows; httpapi adds its requests.
func (a *app) newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	v, c, goVersion := buildInfo()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "keyward_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": v, "commit": c, "go": goVersion},
	})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&backlog{desc: backlogDesc, ask: a.store.Backlog}, &backlog{desc: rewrapDesc, ask: a.custody.Pending},
		&backlog{desc: deliveriesDesc, ask: a.webhooks.Backlog})
	a.registerWorker(r)
	a.registerSender(r)
	a.registerReaders(r)
	a.registerTransport(r)
	return r
}

func (a *app) registerTransport(r *prometheus.Registry) {
	for address, c := range map[string]*certificate{"main": a.transport.main, "admin": a.transport.admin} {
		if c != nil {
			gauge(r, "keyward_tls_certificate_expires_timestamp_seconds", "When the certificate in use ends, by the address that shows it.",
				prometheus.Labels{"address": address}, c.seconds)
		}
	}
	if ca := a.transport.clientCA; ca != nil {
		gauge(r, "keyward_tls_client_ca_expires_timestamp_seconds", "When the first of the authorities of the admin address's clients ends.", nil, ca.seconds)
	}
}

func (a *app) registerWorker(r *prometheus.Registry) {
	for result, n := range map[string]*atomic.Int64{
		"rotated": &a.did.rotated, "created": &a.did.created, "expired": &a.did.expired, "purged": &a.did.purged,
	} {
		counter(r, "keyward_keys_moved_total", "Keys moved by the worker of this process, by what was done.",
			prometheus.Labels{"move": result}, func() int64 { return n.Load() })
	}
	counter(r, "keyward_tenants_put_off_total", "Tenants that could not be brought up to date.", nil, a.did.failed.Load)
	counter(r, "keyward_worker_passes_total", "Passes that went well.", nil, func() int64 { return a.worker.Status().Passes })
	counter(r, "keyward_worker_errors_total", "Passes and chores that failed.", nil, func() int64 { return a.worker.Status().Failures })
	gauge(r, "keyward_worker_leader", "1 if this process holds the lease.", nil, func() float64 { return flag(a.worker.Leader()) })
	gauge(r, "keyward_worker_lease_term", "Term of the lease held, or held last.", nil, func() float64 { return float64(a.worker.Status().Term) })
}

func (a *app) registerReaders(r *prometheus.Registry) {
	stat := func(i int) func() int64 {
		return func() int64 {
			hits, misses, stale := a.snapshots.Stats()
			return [...]int64{hits, misses, stale}[i]
		}
	}
	for i, result := range []string{"hit", "miss", "stale"} {
		counter(r, "keyward_snapshot_reads_total", "Readers served from memory, after reading the database, and from memory while that is away.",
			prometheus.Labels{"result": result}, stat(i))
	}
	counter(r, "keyward_snapshot_replica_reads_total", "Readers served after reading the standby.", nil, a.snapshots.ReplicaReads)
	counter(r, "keyward_signatures_total", "Signatures made.", nil, a.signer.Signatures)
	gauge(r, "keyward_listener_up", "1 if changes are heard of.", nil, func() float64 { return flag(a.listener.Up()) })
	for i, state := range []string{"in_use", "open"} {
		gauge(r, "keyward_db_connections", "Connections of the pool.", prometheus.Labels{"state": state}, func() float64 {
			inUse, total := a.db.Stat()
			return float64([...]int32{inUse, total}[i])
		})
	}
}

func counter(r *prometheus.Registry, name, help string, labels prometheus.Labels, value func() int64) {
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
		func() float64 { return float64(value()) }))
}

func gauge(r *prometheus.Registry, name, help string, labels prometheus.Labels, value func() float64) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// backlog asks the database how much is to be done. Without an answer there is
// no metric.
type backlog struct {
	desc *prometheus.Desc
	ask  func(context.Context) (int64, error)

	mu sync.Mutex
	at time.Time
	n  int64
	ok bool
}

var (
	backlogDesc    = prometheus.NewDesc("keyward_due_policies", "Policies that are due and not done, counted up to 10,000.", nil, nil)
	deliveriesDesc = prometheus.NewDesc("keyward_webhook_pending_deliveries", "Deliveries that no receiver has taken yet, counted up to 10,000.", nil, nil)
	rewrapDesc     = prometheus.NewDesc("keyward_rewrap_pending_data_keys",
		"Data keys that are not under the current master key: a rotation of it is under way, or was interrupted.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (b *backlog) Describe(c chan<- *prometheus.Desc) { c <- b.desc }

// Collect implements [prometheus.Collector].
func (b *backlog) Collect(c chan<- prometheus.Metric) {
	if n, ok := b.count(); ok {
		c <- prometheus.MustNewConstMetric(b.desc, prometheus.GaugeValue, float64(n))
	}
}

func (b *backlog) count() (int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.at) > backlogFor {
		ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
		defer cancel()
		n, err := b.ask(ctx)
		b.n, b.ok, b.at = n, err == nil, time.Now()
	}
	return b.n, b.ok
}
