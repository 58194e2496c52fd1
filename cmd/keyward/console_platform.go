package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/httpapi/console"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/worker"
)

const (
	answerWait  = 200 * time.Millisecond // for the processes to confirm
	findingsFor = 30 * time.Second       // how long doctor's findings are shown again
	mastersFor  = 10 * time.Second       // and the master keys, which may lie in a KMS
	mostBacklog = 10_000                 // rows of a backlog that are counted
)

// platformView makes the platform's page of the console. What is dear to find out is kept
// for a while.
type platformView struct {
	mu       sync.Mutex
	findings []console.DoctorFinding
	foundAt  time.Time
	masters  []console.MasterKey
	readAt   time.Time
}

// readPlatform returns the state of the installation. Errors: tenant.ErrUnavailable.
func (a *app) readPlatform(ctx context.Context) (console.PlatformState, error) {
	s, err := a.gatherPlatform(ctx)
	if errors.Is(err, db.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", tenant.ErrUnavailable, err)
	}
	return s, err
}

func (a *app) gatherPlatform(ctx context.Context) (s console.PlatformState, err error) {
	var backlogs console.PlatformState
	var processes []console.Process
	var g errgroup.Group
	g.Go(func() (err error) { processes, err = a.readProcesses(ctx); return err })
	g.Go(func() error { return a.readBacklogs(ctx, &backlogs) })
	g.Go(func() error { return a.platform.refresh(ctx, a) })
	err = g.Wait()
	s, s.Processes = backlogs, processes
	v := &a.platform
	v.mu.Lock()
	defer v.mu.Unlock()
	s.MasterKeys, s.Findings, s.FoundAt = v.masters, v.findings, v.foundAt.UTC()
	return s, err
}

// refresh finds out what is kept and has become old. Requests that come meanwhile wait.
func (v *platformView) refresh(ctx context.Context, a *app) (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Since(v.readAt) > mastersFor {
		if v.masters, err = a.readMasterKeys(ctx); err != nil {
			return err
		}
		v.readAt = time.Now()
	}
	if time.Since(v.foundAt) > findingsFor {
		v.findings, v.foundAt = a.examine(ctx), time.Now()
	}
	return nil
}

func (a *app) readProcesses(ctx context.Context) ([]console.Process, error) {
	rows, asked, err := a.db.AskProcesses(ctx, answerWait)
	if err != nil {
		return nil, err
	}
	list := make([]console.Process, len(rows))
	for i, r := range rows {
		list[i] = console.Process{
			Name: r.Name, Kind: r.Kind, Version: r.Version, Address: r.Address, ClockOffset: time.Duration(r.ClockOffsetMicroseconds) * time.Microsecond,
			StartedAt: r.StartedAt, HeardAt: r.HeardAt, ConfirmedUntil: r.ConfirmedUntil, Behind: r.ConfirmedUntil.Before(asked), MasterKeys: r.MasterKeys,
		}
	}
	return list, nil
}

func (a *app) readBacklogs(ctx context.Context, s *console.PlatformState) error {
	now := utcNow()
	return a.db.AsPlatform(ctx, func(tx *db.Tx) error {
		s.Lease = nil
		lease, err := tx.GetLease(ctx, worker.LeaseName)
		if err == nil {
			s.Lease = &console.Lease{Holder: lease.Holder, Term: lease.Term, RenewedAt: lease.RenewedAt, Expired: lease.Expired}
		} else if !errors.Is(err, db.ErrNoRows) {
			return err
		}
		counts, err := tx.CountBacklogs(ctx, now, mostBacklog)
		if err != nil {
			return err
		}
		event, err := tx.OldestWaitingEvent(ctx, now)
		if err != nil {
			return err
		}
		due, err := tx.OldestDuePolicy(ctx, now)
		if err != nil {
			return err
		}
		delivery, err := tx.OldestPendingDelivery(ctx, now)
		if err != nil {
			return err
		}
		s.Due, s.Deliveries = backlog(counts.Due, due, now), backlog(counts.Deliveries, delivery, now)
		s.Events = backlog(0, event, now)
		info, err := tx.DescribeDatabase(ctx)
		s.Database = console.Database{Version: info.Version, Name: info.Name, Login: info.Login, Bytes: info.Bytes}
		return err
	})
}

// backlog describes rows of which the oldest is since a time, which is now for none.
func backlog(count int64, since, now time.Time) console.Backlog {
	b := console.Backlog{Count: count, Most: mostBacklog}
	if since.Before(now) {
		b.Oldest = since
	}
	return b
}

func (a *app) readMasterKeys(ctx context.Context) ([]console.MasterKey, error) {
	status, err := a.custody.Status(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]console.MasterKey, len(status))
	for i, m := range status {
		list[i] = console.MasterKey{URI: m.URI, Version: m.Version, State: masterState(m), CreatedAt: m.CreatedAt, DataKeys: m.DataKeys}
		if m.Usable != nil {
			list[i].Unusable = m.Usable.Error()
		}
	}
	return list, nil
}

// examine runs the checks of doctor that need only the database and no scan of it.
func (a *app) examine(ctx context.Context) []console.DoctorFinding {
	e := &examination{report: report{w: io.Discard, asJSON: true}, db: a.db}
	if e.checkSession(ctx) && e.checkSchema(ctx) {
		e.checkWrite(ctx)
		e.checkTransactions(ctx)
		e.checkRowSecurity(ctx)
		e.checkClock(ctx)
		e.checkWorker(ctx)
	}
	list := make([]console.DoctorFinding, len(e.findings))
	for i, f := range e.findings {
		list[i] = console.DoctorFinding{Level: strings.ToLower(strings.TrimSpace(string(f.Verdict))), Check: f.Check, Text: f.Text, Fix: f.Fix}
	}
	return list
}
