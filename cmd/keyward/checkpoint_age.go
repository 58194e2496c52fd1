package main

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/publish"
)

// lateCheckpoints is the number of intervals after which a checkpoint is too old: for
// doctor here, and for the alert in deploy/prometheus.
const lateCheckpoints = 3

// readCheckpointPlace returns what was recorded of an archive; db.ErrNoRows: no worker has
// tried to write a checkpoint into it.
func readCheckpointPlace(ctx context.Context, d *db.DB, archive publish.Archive) (place db.CheckpointPlaceRow, err error) {
	err = d.AsPlatform(ctx, func(tx *db.Tx) error {
		place, err = tx.CheckpointPlace(ctx, archive.Target())
		return err
	})
	return place, err
}

func (a *app) recordCheckpoint(ctx context.Context, at time.Time) error {
	return a.db.AsPlatform(ctx, func(tx *db.Tx) error {
		return tx.RecordCheckpoint(ctx, a.cfg.checkpoints.Target(), at)
	})
}

// recordCheckpointFailure counts a failed attempt, and records it for keyward doctor: the
// caller logs the cause.
func (a *app) recordCheckpointFailure(ctx context.Context, at time.Time, cause error) {
	a.checkpointFailures.Add(1)
	err := a.db.AsPlatform(ctx, func(tx *db.Tx) error {
		return tx.RecordCheckpointFailure(ctx, a.cfg.checkpoints.Target(), at, publish.ShortenError(cause))
	})
	if err != nil {
		a.log.Warn("failed checkpoint not recorded", "target", a.cfg.checkpoints.Target(), "error", err)
	}
}

var checkpointAgeDesc = prometheus.NewDesc("keyward_checkpoint_age_seconds",
	"Age of the last checkpoint written to the place of KEYWARD_CHECKPOINTS; if there is none, time since the first attempt, or since this process started.", nil, nil)

// registerCheckpoints registers the metrics of KEYWARD_CHECKPOINTS.
func (a *app) registerCheckpoints(r *prometheus.Registry) {
	if a.cfg.checkpoints == nil {
		return
	}
	started := utcNow()
	r.MustRegister(&sample{descs: []*prometheus.Desc{checkpointAgeDesc}, ask: func(ctx context.Context) ([]float64, error) {
		place, err := readCheckpointPlace(ctx, a.db, a.cfg.checkpoints)
		since := place.TriedSince
		switch {
		case errors.Is(err, db.ErrNoRows):
			since, err = started, nil
		case place.WrittenAt != nil:
			since = *place.WrittenAt
		}
		return []float64{max(0, utcNow().Sub(since).Seconds())}, err
	}})
	addGauge(r, "keyward_checkpoint_interval_seconds", "KEYWARD_CHECKPOINT_INTERVAL of this process.", nil, a.cfg.checkpointInterval.Seconds)
	addCounter(r, "keyward_checkpoint_failures_total", "Failed attempts of this process to write a checkpoint.", nil, a.checkpointFailures.Load)
}

// checkCheckpoints checks the place of KEYWARD_CHECKPOINTS, and the age of what a worker
// wrote there last.
func (e *examination) checkCheckpoints(ctx context.Context) {
	archive := e.p.cfg.checkpoints
	if archive == nil {
		return
	}
	testing, cancel := context.WithTimeout(ctx, publishTestTime)
	defer cancel()
	e.checkError("checkpoints", archive.Target()+" takes new documents and replaces none", "check the address, the credentials and what they may do (docs/recovery.md)", archive.Check(testing))
	place, err := readCheckpointPlace(ctx, e.db, archive)
	if errors.Is(err, db.ErrNoRows) {
		e.addFixed(warning, "checkpoints", []string{"keyward worker"}, "no worker has written one yet: is one running with this KEYWARD_CHECKPOINTS?")
		return
	}
	if err != nil {
		e.addFinding(failure, "checkpoints", "%v", err)
		return
	}
	e.checkCheckpointAge(place)
}

func (e *examination) checkCheckpointAge(place db.CheckpointPlaceRow) {
	interval, since, last := e.p.cfg.checkpointInterval, place.TriedSince, "none was ever written, since the first attempt at "
	if place.WrittenAt != nil {
		since, last = *place.WrittenAt, "the last was written at "
	}
	last += since.UTC().Format(time.RFC3339)
	why := ""
	if place.Error != nil {
		why = "; since then " + plural.Count(place.Failures, "attempt") + " failed: " + *place.Error
	}
	switch age := utcNow().Sub(since); {
	case age > lateCheckpoints*interval:
		e.addFixed(failure, "checkpoints", []string{"keyward worker"}, "%s, %v ago, more than %s of %v: what is revoked meanwhile comes back to life with a restore%s",
			last, age.Round(time.Second), plural.Count(lateCheckpoints, "interval"), interval, why)
	case why != "":
		e.addFinding(warning, "checkpoints", "%s%s", last, why)
	default:
		e.addFinding(fine, "checkpoints", "%s", last)
	}
}
