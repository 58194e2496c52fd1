package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/worker"
)

// A sample is cached for sampleCacheTime, since /metrics may be read arbitrarily
// often, and for sampleRest times as long as it took, so that measuring a slow
// database does not slow it further.
const (
	sampleCacheTime = 5 * time.Second
	sampleRest      = 50
)

// sample is a group of gauges read from the database together. They have no value
// while the database does not answer.
type sample struct {
	descs []*prometheus.Desc
	ask   func(context.Context) ([]float64, error) // a value for each of descs

	mu     sync.Mutex
	until  time.Time // end of the cache time
	values []float64 // nil: none
}

// newSample returns a sample of one number.
func newSample(ask func(context.Context) (int64, error), desc *prometheus.Desc) *sample {
	return &sample{descs: []*prometheus.Desc{desc}, ask: func(ctx context.Context) ([]float64, error) {
		n, err := ask(ctx)
		return []float64{float64(n)}, err
	}}
}

var (
	backlogDesc    = prometheus.NewDesc("keyward_due_policies", "Overdue policies, counted up to 10,000.", nil, nil)
	deliveriesDesc = prometheus.NewDesc("keyward_webhook_pending_deliveries", "Undelivered webhook deliveries, counted up to 10,000.", nil, nil)
	rewrapDesc     = prometheus.NewDesc("keyward_rewrap_pending_data_keys",
		"Data keys not wrapped by the current master key: a master key rotation is running or was interrupted.", nil, nil)

	// ageDescs are in the order of measureAges.
	ageDescs = []*prometheus.Desc{
		prometheus.NewDesc("keyward_worker_lease_age_seconds", "Time since a worker of any process renewed the lease. Above 15 s none is running.", nil, nil),
		prometheus.NewDesc("keyward_oldest_due_policy_age_seconds", "Delay of the policy that is overdue longest; 0 if none is.", nil, nil),
		prometheus.NewDesc("keyward_webhook_oldest_event_age_seconds", "Age of the oldest event that waits to become a webhook delivery; 0 if none does.", nil, nil),
		prometheus.NewDesc("keyward_webhook_oldest_delivery_age_seconds", "Age of the oldest pending webhook delivery; 0 if none is pending.", nil, nil),
	}
)

// Describe implements [prometheus.Collector].
func (s *sample) Describe(c chan<- *prometheus.Desc) {
	for _, desc := range s.descs {
		c <- desc
	}
}

// Collect implements [prometheus.Collector].
func (s *sample) Collect(c chan<- prometheus.Metric) {
	for i, v := range s.read() {
		c <- prometheus.MustNewConstMetric(s.descs[i], prometheus.GaugeValue, v)
	}
}

// read returns the values, nil if there are none.
func (s *sample) read() []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if began := time.Now(); began.After(s.until) {
		ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
		defer cancel()
		values, err := s.ask(ctx)
		if s.values = values; err != nil {
			s.values = nil
		}
		ended := time.Now()
		s.until = ended.Add(max(sampleCacheTime, sampleRest*ended.Sub(began)))
	}
	return s.values
}

// measureAges returns how long work has been waiting, in seconds.
func (a *app) measureAges(ctx context.Context) ([]float64, error) {
	var lease float64
	var due, event, delivery, now time.Time
	err := a.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		if lease, err = tx.LeaseAge(ctx, worker.LeaseName); err != nil && !errors.Is(err, db.ErrNoRows) {
			return err
		}
		if now, err = tx.DatabaseClock(ctx); err != nil {
			return err
		}
		if due, err = tx.OldestDuePolicy(ctx, now); err != nil {
			return err
		}
		if event, err = tx.OldestWaitingEvent(ctx, now); err != nil {
			return err
		}
		delivery, err = tx.OldestPendingDelivery(ctx, now)
		return err
	})
	return []float64{lease, now.Sub(due).Seconds(), now.Sub(event).Seconds(), now.Sub(delivery).Seconds()}, err
}
