package main

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/keyward/keyward/db"
)

type serveCmd struct {
	NoWorker bool `name:"no-worker" var:"KEYWARD_NO_WORKER" help:"Do not run the worker in this process."`
	Migrate  bool `name:"migrate" var:"KEYWARD_MIGRATE" help:"Apply pending migrations first."`
}

// Run is keyward serve.
func (c *serveCmd) Run(ctx context.Context, p *program) error {
	if err := p.needDatabase(); err != nil {
		return err
	}
	return p.serveAPI(ctx, service{works: !c.NoWorker, migrates: c.Migrate}, func(context.Context, *app, urls) error { return nil })
}

// migrateSchema applies pending migrations.
func (p *program) migrateSchema(ctx context.Context) error {
	if err := p.needDatabase(); err != nil {
		return err
	}
	return db.Migrate(ctx, p.cfg.listenURL)
}

// service says what serveAPI does beside serving.
type service struct {
	works    bool // runs the worker
	migrates bool // applies pending migrations first
}

// serveAPI runs a service until ctx is done. It waits for PostgreSQL first. Requests are
// served once prepare has returned.
func (p *program) serveAPI(ctx context.Context, s service, prepare func(ctx context.Context, a *app, urls urls) error) error {
	defer p.startServiceLog()()
	end, err := p.trace(ctx)
	if err != nil {
		return err
	}
	defer end()
	listeners, err := p.cfg.openListeners()
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	where := urls{public: p.cfg.verifierURL(listeners[0].Addr())}
	start := opening{program: p, publicURL: where.public, migrate: s.migrates, public: listeners[0]}
	if where.admin = where.public; len(listeners) > 1 {
		where.admin, start.admin = p.cfg.adminURL(listeners[1].Addr()), listeners[1]
	}
	a, err := start.run(ctx)
	if errors.Is(err, errStopped) {
		return nil
	}
	if err != nil {
		return err
	}
	defer a.close()
	a.runsWorker = s.works
	room := allocateHeadroom(os.Getenv) // GOGC and GOMEMLIMIT are the runtime's, not settings
	defer runtime.KeepAlive(room)
	return a.runService(ctx, listeners, where, prepare)
}

// stopTimeout bounds the end of the background loops and the last flush, which may wait for
// a database that hangs. Before it come the drain delay and the shutdown timeout, after it
// at most 5 s for the connections.
const stopTimeout = 8 * time.Second

// endWithin runs the end of a service, and returns without it if it takes too long.
func (a *app) endWithin(d time.Duration, end func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		end()
	}()
	select {
	case <-done:
	case <-time.After(d):
		a.log.Warn("shutdown timeout: background work aborted", "after", d)
	}
}

// urls are the base URLs for verifiers and for administrators.
type urls struct{ public, admin string }

// openListeners listens on the public and, if configured, the admin address.
func (c config) openListeners() (listeners []net.Listener, err error) {
	for _, addr := range []string{c.addr, c.adminAddr} {
		if addr == "" {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			closeAll(listeners)
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // already closed by its server
	}
}

// runService runs servers and background loops. They stop in the order of their
// dependencies: requests, background loops, the last flush.
func (a *app) runService(ctx context.Context, listeners []net.Listener, where urls, prepare func(context.Context, *app, urls) error) error {
	servers, err := a.newServers(where.public)
	if err != nil {
		return err
	}
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := a.startBackground(beside)
	defer a.endWithin(stopTimeout, func() {
		stop()
		stopped()
		a.flushAtExit(ctx)
	})
	if err := prepare(ctx, a, where); err != nil {
		return err
	}
	debug.FreeOSMemory() // what only the start needed
	dropProgramPages()
	return a.serveRequests(ctx, servers, listeners, func() {
		a.log.Info("serving", "url", where.public, "addr", listeners[0].Addr().String(), "worker", a.runsWorker, "admin_url", where.admin)
	})
}
