package keyward

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/worker"
)

// callTimeout bounds a call of every, and a check of readiness.
const callTimeout = 15 * time.Second

// every calls do periodically and when asked, until ctx is done. It logs errors.
func (s *Service) every(ctx context.Context, interval time.Duration, asked <-chan struct{}, what string, do func(context.Context) error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-asked:
		}
		call, done := context.WithTimeout(ctx, callTimeout)
		if err := do(call); err != nil && ctx.Err() == nil {
			s.log.Warn(what+" failed; will be retried", "error", err)
		}
		done()
	}
}

// flush stores the last signature of each key, the last use of each credential and the
// verifiers that fetched.
func (s *Service) flush(ctx context.Context) error {
	return errors.Join(s.signer.FlushEvidence(ctx), s.tenants.FlushLastUsed(ctx), s.adoption.Flush(ctx))
}

// runDue executes due key changes. It returns the time of the next pass.
func (s *Service) runDue(ctx context.Context) (time.Time, error) {
	done, err := s.store.RunDue(ctx, audit.By{Actor: s.actor}, 1000)
	if soon := now().Add(200 * time.Millisecond); err == nil && !done.Next.IsZero() && done.Next.Before(soon) {
		return soon, nil // other processes hold what is due
	}
	return done.Next, err
}

// chores are what the worker does from time to time.
func (s *Service) chores() []worker.Chore {
	return []worker.Chore{
		{Name: "delete expired idempotency keys", Interval: time.Hour, Run: s.tenants.ForgetAnswers},
		{Name: "delete processes that are gone", Interval: time.Hour, Run: s.db.ForgetGoneProcesses},
		{Name: "delete old webhook deliveries", Interval: time.Hour, Run: s.webhooks.Purge},
		{Name: "delete verifiers not seen lately", Interval: time.Hour, Run: s.adoption.Forget},
	}
}

// caches returns what this process keeps in memory of tenants.
func (s *Service) caches() httpapi.Caches {
	return httpapi.Caches{Snapshots: s.snapshots, Signer: s.signer, Tenants: s.tenants, Audit: s.audit}
}

// changed invalidates all caches for a tenant after a commit that changed it.
func (s *Service) changed(id uuid.UUID, slug string) {
	s.caches().Changed(id, slug)
	if slug == tenant.PlatformSlug {
		s.refreshSoon()
	}
	s.sender.Changed(id)
	s.publisher.Changed(id)
	s.worker.Wake()
}

// missed invalidates all caches after notifications may have been lost.
func (s *Service) missed() {
	s.caches().Missed()
	s.refreshSoon()
	s.sender.Missed()
	s.publisher.Missed()
	s.worker.Wake()
}

// refreshSoon requests a check of the master keys, without blocking.
func (s *Service) refreshSoon() {
	select {
	case s.refresh <- struct{}{}:
	default:
	}
}

// readiness keeps the last result for a second, since anybody may ask and must not load
// the database.
type readiness struct {
	mu      sync.Mutex
	at      time.Time
	parts   map[string]error
	stopped bool
}

func (r *readiness) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

// checkReady returns the error of each part, nil if it works. The errors are public.
func (s *Service) checkReady(ctx context.Context) map[string]error {
	r := &s.ready
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return map[string]error{"process": errors.New("shutting down")}
	}
	if r.parts == nil || time.Since(r.at) > time.Second {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		r.parts, r.at = s.probe(ctx), time.Now()
	}
	return maps.Clone(r.parts)
}

// probe checks every part. Causes are logged, since anybody may read the result.
func (s *Service) probe(ctx context.Context) map[string]error {
	public := func(short string, err error) error {
		if err == nil {
			return nil
		}
		s.log.Warn("readiness check failed", "part", short, "error", err)
		return errors.New(short)
	}
	parts := map[string]error{
		"process": nil, "database": nil, "migrations": nil,
		"master_key": public("the master key is not usable", s.custody.Check(ctx)),
		"clock":      public("the clock of this process differs from the database's", s.db.CheckClock()),
	}
	switch state, err := s.db.Probe(ctx); {
	case err != nil:
		parts["database"] = public("PostgreSQL does not respond as it should", err)
	case !state.Writable:
		parts["database"] = errors.New("PostgreSQL is read-only")
	case state.Pending > 0:
		parts["migrations"] = fmt.Errorf("%s pending", plural.Count(state.Pending, "migration"))
	}
	return parts
}
