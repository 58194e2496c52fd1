package main

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/seal"
)

// counters count the key changes made by this process's worker since its start.
type counters struct{ rotated, created, expired, purged, failed atomic.Int64 }

func (c *counters) add(d moves.Done) {
	c.rotated.Add(int64(d.Rotated))
	c.created.Add(int64(d.Created))
	c.expired.Add(int64(d.Expired))
	c.purged.Add(int64(d.Purged))
	c.failed.Add(int64(d.Failed))
}

// newMetrics registers the metrics of this package; httpapi adds its own.
func (a *app) newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	v, c, goVersion := buildInfo()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "keyward_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": v, "commit": c, "go": goVersion},
	})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newSample(a.store.Backlog, backlogDesc), newSample(a.custody.Pending, rewrapDesc), newSample(a.webhooks.Backlog, deliveriesDesc),
		&sample{descs: ageDescs, ask: a.measureAges}, &a.census)
	a.registerWorker(r)
	a.registerSender(r)
	a.registerWorkloads(r)
	a.registerPublisher(r)
	a.registerCheckpoints(r)
	a.registerReaders(r)
	a.registerPool(r)
	a.registerTransport(r)
	for result, count := range map[string]func(seal.Calls) int64{
		"answered": func(c seal.Calls) int64 { return c.Answered }, "failed": func(c seal.Calls) int64 { return c.Failed },
	} {
		addCounter(r, "keyward_kms_calls_total", "Calls of the KMS that holds the master key, each attempt, by result; 0 for a local master key.",
			prometheus.Labels{"result": result}, func() int64 { return count(seal.CountCalls()) })
	}
	addGauge(r, "keyward_unwritten_evidence_keys", "Keys with signatures that are not yet recorded in the database; grows while that fails.", nil,
		func() float64 { return float64(a.signer.UnwrittenEvidence()) })
	addCounter(r, "keyward_log_lines_dropped_total", "Log lines dropped because nobody read them fast enough, or at all.", nil, a.lines.droppedLines)
	return r
}

func (a *app) registerTransport(r *prometheus.Registry) {
	for address, c := range map[string]*certificate{"main": a.transport.main, "admin": a.transport.admin} {
		if c != nil {
			addGauge(r, "keyward_tls_certificate_expires_timestamp_seconds", "Expiry of the certificate in use, by address.",
				prometheus.Labels{"address": address}, c.expirySeconds)
		}
	}
	if ca := a.transport.clientCA; ca != nil {
		addGauge(r, "keyward_tls_client_ca_expires_timestamp_seconds", "Earliest expiry of the client certificate authorities of the admin address.", nil, ca.expirySeconds)
	}
}

func (a *app) registerWorker(r *prometheus.Registry) {
	for result, n := range map[string]*atomic.Int64{
		"rotated": &a.workerCounters.rotated, "created": &a.workerCounters.created, "expired": &a.workerCounters.expired, "purged": &a.workerCounters.purged,
	} {
		addCounter(r, "keyward_keys_moved_total", "Key changes by the worker of this process, by type.",
			prometheus.Labels{"move": result}, func() int64 { return n.Load() })
	}
	addCounter(r, "keyward_tenants_put_off_total", "Tenants whose due changes failed in a worker pass.", nil, a.workerCounters.failed.Load)
	addCounter(r, "keyward_worker_passes_total", "Successful worker passes.", nil, func() int64 { return a.worker.Status().Passes })
	addCounter(r, "keyward_worker_errors_total", "Failed worker passes and chores.", nil, func() int64 { return a.worker.Status().Failures })
	addGauge(r, "keyward_worker_leader", "1 while this process holds the worker lease.", nil, func() float64 { return boolValue(a.worker.Leader()) })
	addGauge(r, "keyward_worker_lease_term", "Term of the current or last worker lease.", nil, func() float64 { return float64(a.worker.Status().Term) })
}

func (a *app) registerReaders(r *prometheus.Registry) {
	stat := func(i int) func() int64 {
		return func() int64 {
			hits, misses, stale := a.snapshots.Stats()
			return [...]int64{hits, misses, stale}[i]
		}
	}
	for i, result := range []string{"hit", "miss", "stale"} {
		addCounter(r, "keyward_snapshot_reads_total", "JWKS and discovery reads served from memory (hit), after a database read (miss), or from memory while the database is unavailable (stale).",
			prometheus.Labels{"result": result}, stat(i))
	}
	addCounter(r, "keyward_snapshot_replica_reads_total", "JWKS and discovery reads served after reading the standby database.", nil, a.snapshots.ReplicaReads)
	addGauge(r, "keyward_jwks_clients", "Verifiers that fetched a JWKS from this process within two hours, as far as it keeps them.", nil, func() float64 {
		kept, _ := a.adoption.Stats()
		return float64(kept)
	})
	addCounter(r, "keyward_jwks_clients_dropped_total", "JWKS requests of verifiers that were not counted for want of room.", nil, func() int64 {
		_, dropped := a.adoption.Stats()
		return dropped
	})
	addCounter(r, "keyward_signatures_total", "Signatures made.", nil, a.signer.Signatures)
	addCounter(r, "keyward_overload_refusals_total", "Signatures and verifications refused with 503, because the processors had too much to do.", nil, a.signer.Refused)
	addGauge(r, "keyward_live_processes", "Processes of this Keyward that were heard of in the last 10 seconds, this one included, at its last heartbeat.", nil, func() float64 {
		live, _ := a.listener.Live()
		return float64(live)
	})
	addGauge(r, "keyward_listener_up", "1 while LISTEN is connected.", nil, func() float64 { return boolValue(a.listener.Up()) })
}

func (a *app) registerPool(r *prometheus.Registry) {
	for i, state := range []string{"in_use", "open"} {
		addGauge(r, "keyward_db_connections", "Database connections of the pool, by state.", prometheus.Labels{"state": state}, func() float64 {
			inUse, total := a.db.Stat()
			return float64([...]int32{inUse, total}[i])
		})
	}
	addGauge(r, "keyward_db_connections_limit", "Largest number of database connections of the pool.", nil, func() float64 { return float64(a.db.MaxConns()) })
	addCounter(r, "keyward_db_connection_waits_total", "Times a database connection was waited for, because all were in use.", nil, func() int64 {
		n, _ := a.db.Waits()
		return n
	})
	addCounter(r, "keyward_db_transactions_repeated_total", "Transactions run again after a deadlock or because they took effect too late.", nil, a.db.Repeats)
	addGauge(r, "keyward_clock_offset_seconds", "By how much this process's clock is ahead of the database's; beyond 2 s either way the process neither changes nor signs.", nil, func() float64 {
		offset, _ := a.db.ClockOffset()
		return offset.Seconds()
	})
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "keyward_db_connection_wait_seconds_total", Help: "Time spent waiting for a database connection.",
	}, func() float64 {
		_, waited := a.db.Waits()
		return waited.Seconds()
	}))
}

func addCounter(r *prometheus.Registry, name, help string, labels prometheus.Labels, value func() int64) {
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
		func() float64 { return float64(value()) }))
}

func addGauge(r *prometheus.Registry, name, help string, labels prometheus.Labels, value func() float64) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
}

func boolValue(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
