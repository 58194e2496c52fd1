package main

import (
	"context"
	"net"

	"github.com/keyward/keyward/db"
)

type serveCmd struct {
	NoWorker bool `name:"no-worker" var:"KEYWARD_NO_WORKER" help:"Leave what is due to other processes."`
	Migrate  bool `name:"migrate" var:"KEYWARD_MIGRATE" help:"Bring the schema up to date first."`
}

// Run is keyward serve.
func (c *serveCmd) Run(ctx context.Context, p *program) error {
	if c.Migrate {
		if err := p.migrate(ctx); err != nil {
			return err
		}
	}
	return p.serve(ctx, !c.NoWorker, func(context.Context, *app, string) error { return nil })
}

// migrate brings the schema up to date.
func (p *program) migrate(ctx context.Context) error {
	if err := p.needDatabase(); err != nil {
		return err
	}
	return db.Migrate(ctx, p.cfg.listenURL)
}

// serve runs the API and, if works is true, the worker, until ctx is over.
// Requests are answered once prepare has returned.
func (p *program) serve(ctx context.Context, works bool, prepare func(ctx context.Context, a *app, url string) error) error {
	l, err := net.Listen("tcp", p.cfg.addr)
	if err != nil {
		return err
	}
	defer l.Close()
	url := p.cfg.public(l.Addr())
	a, err := p.openApp(ctx, url)
	if err != nil {
		return err
	}
	defer a.close()
	a.works = works
	return a.run(ctx, l, url, prepare)
}

// run is the life of the service. The parts end in the order in which they
// need each other: requests, what goes on beside them, what must be written.
func (a *app) run(ctx context.Context, l net.Listener, url string, prepare func(context.Context, *app, string) error) error {
	s, err := a.newServer(url)
	if err != nil {
		return err
	}
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := a.background(beside)
	defer func() {
		stop()
		stopped()
		a.flushLast(ctx)
	}()
	if err := prepare(ctx, a, url); err != nil {
		return err
	}
	return a.serve(ctx, s, l, func() { a.log.Info("serving", "url", url, "addr", l.Addr().String(), "worker", a.works) })
}
