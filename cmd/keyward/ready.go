package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyward/keyward/db"
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
	r := &a.ready
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) > readyCacheTime {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
		defer cancel()
		r.checks = a.probeParts(ctx)
		r.at = time.Now()
	}
	checks := make(map[string]error, len(r.checks)+1)
	for name, err := range r.checks {
		checks[name] = err
	}
	if a.stopping.Load() {
		checks["process"] = errStopping
	}
	return checks
}

func (a *app) probeParts(ctx context.Context) map[string]error {
	checks := map[string]error{
		"database":   a.probeDatabase(ctx),
		"migrations": nil,
		"clock":      a.hideCause("clock", errClock, a.db.CheckClock()),
		"master_key": a.hideCause("master_key", errNoMasterKey, a.custody.Check(ctx)),
	}
	if checks["database"] == nil {
		checks["migrations"] = a.probeMigrations(ctx)
	}
	return checks
}

// probeDatabase checks that the database answers and accepts writes: without them
// no key can be revoked.
func (a *app) probeDatabase(ctx context.Context) error {
	err := a.db.Writable(ctx)
	if errors.Is(err, db.ErrReadOnly) {
		return a.hideCause("database", errReadOnly, err)
	}
	return a.hideCause("database", errNoDatabase, err)
}

func (a *app) probeMigrations(ctx context.Context) error {
	n, err := a.db.PendingMigrations(ctx)
	if err == nil && n > 0 {
		return fmt.Errorf("%d migrations are pending; run keyward migrate up", n)
	}
	return a.hideCause("migrations", errNoSchema, err)
}

// hideCause logs the cause of an error and returns the public one.
func (a *app) hideCause(part string, short, err error) error {
	if err == nil {
		return nil
	}
	a.log.Warn("readiness check failed", "part", part, "error", err)
	return short
}
