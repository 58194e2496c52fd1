package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
)

const (
	readyCacheTime = time.Second     // cache time of a readiness result
	readyTimeout   = 3 * time.Second // timeout of the checks
)

var (
	errNoDatabase  = errors.New("PostgreSQL does not respond")
	errReadOnly    = errors.New("PostgreSQL is read-only")
	errNoSchema    = errors.New("the schema cannot be read; run keyward migrate up")
	errNoMasterKey = errors.New("the master key is not usable; keyward doctor has the details")
	errClock       = errors.New("the clock of this process differs from the database's; synchronize both")
	errStopping    = errors.New("shutting down")
)

// readiness caches the last result, since anybody may ask and must not load the
// database.
type readiness struct {
	mu     sync.Mutex
	at     time.Time
	checks map[string]error
}

// checkReady returns the error of each part, nil if it works. The errors are
// public; their causes are logged.
func (a *app) checkReady(ctx context.Context) map[string]error {
	checks := maps.Clone(a.lastChecks(ctx))
	maps.Copy(checks, a.checkPublic(ctx))
	return checks
}

// lastChecks returns the results of probeParts, at most readyCacheTime old.
func (a *app) lastChecks(ctx context.Context) map[string]error {
	r := &a.ready
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.checks == nil || time.Since(r.at) > readyCacheTime {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
		defer cancel()
		r.checks = a.probeParts(ctx)
		r.at = time.Now()
	}
	return r.checks
}

// checkPublic returns the parts that verifiers need: only the process itself, since
// what they are served is in memory or read when it is asked for.
func (a *app) checkPublic(context.Context) map[string]error {
	if a.stopping.Load() {
		return map[string]error{"process": errStopping}
	}
	return map[string]error{"process": nil}
}

func (a *app) probeParts(ctx context.Context) map[string]error {
	checks := map[string]error{
		"database": nil, "migrations": nil,
		"master_key": a.hideCause("master_key", errNoMasterKey, a.custody.Check(ctx)),
	}
	state, err := a.db.Probe(ctx)
	switch {
	case errors.Is(err, db.ErrUnavailable):
		checks["database"] = a.hideCause("database", errNoDatabase, err)
	case err != nil:
		checks["migrations"] = a.hideCause("migrations", errNoSchema, err)
	case !state.Writable:
		checks["database"] = errReadOnly
	case state.Pending > 0:
		checks["migrations"] = fmt.Errorf("%s pending; run keyward migrate up", plural.Count(state.Pending, "migration"))
	}
	checks["clock"] = a.hideCause("clock", errClock, a.db.CheckClock())
	return checks
}

// hideCause logs the cause of an error and returns the public one.
func (a *app) hideCause(part string, short, err error) error {
	if err == nil {
		return nil
	}
	a.log.Warn("readiness check failed", "part", part, "error", err)
	return short
}
