package main

import (
	"context"
	"net"
	"net/http"
)

type workerCmd struct {
	Migrate bool `name:"migrate" var:"KEYWARD_MIGRATE" help:"Apply pending migrations first."`
}

// Run is keyward worker.
func (c *workerCmd) Run(ctx context.Context, p *program) error {
	if c.Migrate {
		if err := p.migrateSchema(ctx); err != nil {
			return err
		}
	}
	return p.runWorker(ctx)
}

// runWorker runs the worker until ctx is done, and serves health checks and
// metrics on the admin address if there is one.
func (p *program) runWorker(ctx context.Context) error {
	defer p.startServiceLog()()
	end, err := p.trace(ctx)
	if err != nil {
		return err
	}
	defer end()
	var listeners []net.Listener
	if p.cfg.adminAddr != "" {
		l, err := net.Listen("tcp", p.cfg.adminAddr)
		if err != nil {
			return err
		}
		defer l.Close()
		listeners = append(listeners, l)
	}
	a, err := p.openApp(ctx, p.cfg.publicURL)
	if err != nil {
		return err
	}
	defer a.close()
	a.runsWorker, a.healthOnly = true, true
	a.cfg.drainDelay = 0 // no load balancer sends requests here
	if len(listeners) == 0 {
		a.log.Info("working", "holder", process)
		notifySystemd("READY=1")
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
