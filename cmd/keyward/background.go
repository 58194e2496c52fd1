package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys/moves"
)

const (
	passBatchSize     = 1000                   // policies of one pass, in several transactions
	busyPause         = 200 * time.Millisecond // before the next pass if other processes hold everything that is due
	flushInterval     = 10 * time.Second       // between writes of evidence and last use
	masterInterval    = time.Minute            // between checks of the master keys
	backgroundTimeout = 15 * time.Second       // of one flush, and of one check of the master keys
	exitFlushTimeout  = 5 * time.Second        // timeout of the last flush
)

// startBackground starts the background loops, until ctx is done. The returned
// function waits for their end; only the last flush remains to be done then.
func (a *app) startBackground(ctx context.Context) (stopped func()) {
	var wg sync.WaitGroup
	wg.Go(func() { a.listener.Run(ctx) })
	wg.Go(func() { feedWatchdog(ctx) })
	wg.Go(func() { a.watchMasterKey(ctx) })
	wg.Go(func() { a.flushPeriodically(ctx) })
	if len(a.transport.watchedFiles()) > 0 {
		wg.Go(func() { a.watchFiles(ctx) })
	}
	if a.runsWorker {
		wg.Go(func() { _ = a.worker.Run(ctx) }) // always nil
		wg.Go(func() { a.sender.Run(ctx) })
		if a.publisher != nil {
			wg.Go(func() { a.publisher.Run(ctx) })
		}
		if a.cfg.metrics {
			wg.Go(func() { a.takeCensuses(ctx) })
		}
	}
	return wg.Wait
}

// runPass executes due key changes. It returns the time of the next pass.
func (a *app) runPass(ctx context.Context) (time.Time, error) {
	done, err := a.store.RunDue(ctx, audit.By{Actor: a.workerActor()}, passBatchSize)
	if err != nil {
		return time.Time{}, err
	}
	a.workerCounters.add(done)
	a.passes.report(a.log, done)
	if soon := utcNow().Add(busyPause); done.IsIdle() && !done.Next.IsZero() && done.Next.Before(soon) {
		return soon, nil
	}
	return done.Next, nil
}

// passReport sums up what passes did: with many tenants most passes move something, and a
// line for each would drown the rest of the log. Only the worker's goroutine uses it.
type passReport struct {
	passes  int         // that moved something or failed, since the last line
	done    moves.Done  // by those
	written age.Instant // when a line was; zero: never
}

// report adds a pass, and logs the sum unless a line was written within sampleInterval.
// What is left is logged by a later pass, which comes within a minute, or lost with the
// process: metrics count it, and the history has each change.
func (p *passReport) report(log *slog.Logger, done moves.Done) {
	if !done.IsIdle() {
		p.passes++
		p.done.Add(done)
	}
	if p.passes == 0 || p.written.Within(sampleInterval, age.Now()) {
		return
	}
	sum := p.done
	log.Info("worker passes completed", "passes", p.passes, "tenants", sum.Tenants, "rotated", sum.Rotated, "created", sum.Created,
		"expired", sum.Expired, "purged", sum.Purged, "failed", sum.Failed)
	*p = passReport{written: age.Now()}
}

// watchMasterKey checks the master keys on request and periodically.
func (a *app) watchMasterKey(ctx context.Context) {
	tick := time.NewTicker(masterInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.refresh:
		}
		if err := a.refreshMasterKeys(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("master key check failed", "error", err)
		}
	}
}

func (a *app) refreshMasterKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, backgroundTimeout)
	defer cancel()
	return a.custody.Refresh(ctx)
}

func (a *app) flushPeriodically(ctx context.Context) {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.flushEvidence(ctx)
		}
	}
}

// flushEvidence stores the last signature of each key, the last use of each
// credential and the verifiers that fetched. Values that could not be stored are kept for the next flush.
func (a *app) flushEvidence(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, backgroundTimeout)
	defer cancel()
	err := errors.Join(a.signer.FlushEvidence(ctx), a.tenants.FlushLastUsed(ctx), a.adoption.Flush(ctx))
	if err != nil && ctx.Err() == nil {
		a.log.Warn("flush of key evidence, credential use and verifiers failed; will be retried", "error", err)
	}
}

// flushAtExit flushes once more, after ctx is done.
func (a *app) flushAtExit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exitFlushTimeout)
	defer cancel()
	a.flushEvidence(ctx)
}
