package main

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/keyward/keyward/internal/sdnotify"
)

type workerCmd struct {
	Migrate bool `name:"migrate" var:"KEYWARD_MIGRATE" help:"Apply pending migrations first."`
}

// Run is keyward worker.
func (c *workerCmd) Run(ctx context.Context, p *program) error {
	if err := p.needDatabase(); err != nil {
		return err
	}
	return p.runWorker(ctx, c.Migrate)
}

// runWorker runs the worker until ctx is done, and serves health checks and
// metrics on the admin address if there is one. It waits for PostgreSQL first.
func (p *program) runWorker(ctx context.Context, migrates bool) error {
	defer p.startServiceLog()()
	end, err := p.trace(ctx)
	if err != nil {
		return err
	}
	defer end()
	start := opening{program: p, publicURL: p.cfg.publicURL, migrate: migrates}
	var listeners []net.Listener
	if p.cfg.adminAddr != "" {
		l, err := net.Listen("tcp", p.cfg.adminAddr)
		if err != nil {
			return err
		}
		defer l.Close()
		listeners, start.admin = append(listeners, l), l
	}
	a, err := start.run(ctx)
	if errors.Is(err, errStopped) {
		return nil
	}
	if err != nil {
		return err
	}
	defer a.close()
	a.runsWorker, a.healthOnly = true, true
	a.cfg.drainDelay = 0 // no load balancer sends requests here
	if len(listeners) == 0 {
		a.log.Info("working", "holder", process)
		sdnotify.Notify("READY=1")
		context.AfterFunc(ctx, a.announceStop)
		a.runBackground(ctx)
		return nil
	}
	server, err := a.newHealthServer(p.cfg.publicURL)
	if err != nil {
		return err
	}
	return a.workBeside(ctx, []*http.Server{server}, listeners)
}

// runBackground runs the background loops until ctx is done, and gives them stopTimeout to
// end.
func (a *app) runBackground(ctx context.Context) {
	stopped := a.startBackground(ctx)
	<-ctx.Done()
	a.endWithin(stopTimeout, stopped)
}

// workBeside runs the background loops beside servers, which answer until the
// loops have ended. A server that fails ends the loops.
func (a *app) workBeside(ctx context.Context, servers []*http.Server, listeners []net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, a.announceStop)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- a.serveRequests(serving, servers, listeners, func() {
			a.log.Info("working", "holder", process, "admin_url", a.cfg.adminURL(listeners[0].Addr()))
		})
	}()
	a.runBackground(ctx)
	stop()
	return <-ended
}
