package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/publish"
)

// newPublisher returns the publisher of KEYWARD_PUBLISH, nil without it.
func (a *app) newPublisher() *publish.Publisher {
	if a.cfg.publish == nil {
		return nil
	}
	documents := httpapi.Documents{Caches: a.caches(), PublicURL: a.publicURL, Now: utcNow}
	return publish.New(publish.Config{
		DB: a.db, Store: a.cfg.publish, Feed: a.snapshots.Fleet, Render: documents.Render, Paths: httpapi.DocumentPaths,
		Leads: a.worker.Leader, Now: utcNow, Log: a.log,
	})
}

var publishDescs = []*prometheus.Desc{
	prometheus.NewDesc("keyward_publish_unpublished_tenants", "Tenants whose latest documents could not be written to the store of KEYWARD_PUBLISH, counted up to 10,000.", nil, nil),
	prometheus.NewDesc("keyward_publish_lag_seconds", "For how long the store of KEYWARD_PUBLISH has lacked a change; 0 if it has all of them.", nil, nil),
}

// registerPublisher registers the metrics of KEYWARD_PUBLISH.
func (a *app) registerPublisher(r *prometheus.Registry) {
	if a.publisher == nil {
		return
	}
	r.MustRegister(&sample{descs: publishDescs, ask: func(ctx context.Context) ([]float64, error) {
		lag, err := a.publisher.Lag(ctx, 1)
		return []float64{float64(lag.Unpublished), lag.Age(utcNow()).Seconds()}, err
	}})
	addCounter(r, "keyward_published_sets_total", "Tenants whose documents this process wrote to the store of KEYWARD_PUBLISH.", nil, func() int64 {
		published, _ := a.publisher.Stats()
		return published
	})
	addCounter(r, "keyward_publish_failures_total", "Failed attempts to write a tenant's documents to the store of KEYWARD_PUBLISH.", nil, func() int64 {
		_, failures := a.publisher.Stats()
		return failures
	})
}

const (
	publishDelay    = time.Minute // of a change that is not published, from which doctor warns
	laggingTenants  = 10          // whose names doctor prints
	publishTestTime = 20 * time.Second
)

// checkPublishing checks the store of KEYWARD_PUBLISH, and what it lacks.
func (e *examination) checkPublishing(ctx context.Context) {
	store := e.p.cfg.publish
	if store == nil {
		return
	}
	testing, cancel := context.WithTimeout(ctx, publishTestTime)
	defer cancel()
	e.checkError("publishing", store.Target()+" can be written, conditionally", "check the address, the credentials and what they may do (docs/publishing.md)", store.Check(testing))
	lag, err := publish.Config{DB: e.db, Store: store}.Lag(ctx, laggingTenants)
	switch {
	case err != nil:
		e.addFinding(failure, "publishing", "%v", err)
	case lag.CaughtUpAt.IsZero():
		e.addFinding(warning, "publishing", "no process has published every tenant yet: is a worker with KEYWARD_PUBLISH running?")
	case lag.Age(utcNow()) > publishDelay:
		e.addFinding(failure, "publishing", "the store has lacked a change for %v, last caught up at %s: is a worker with KEYWARD_PUBLISH running?",
			lag.Age(utcNow()).Round(time.Second), lag.CaughtUpAt.Format(time.RFC3339))
	default:
		e.addFinding(fine, "publishing", "every change was published or tried at %s", lag.CaughtUpAt.Format(time.RFC3339))
	}
	for _, t := range lag.First {
		e.addFinding(warning, "publishing", "tenant %s is not published since %s (%s): %s", t.Slug, t.Since.Format(time.RFC3339), plural.Count(t.Failures, "attempt"), t.Error)
	}
	if more := lag.Unpublished - int64(len(lag.First)); more > 0 {
		e.addFinding(warning, "publishing", "and %s", plural.Count(more, "more tenant"))
	}
}
