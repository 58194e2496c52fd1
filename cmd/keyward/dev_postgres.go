package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyward/keyward/db/embedded"
)

// postgresPause is how long PostgreSQL stays away after it ended by itself:
// time for what ended it to be over, and for a drill to see what is served
// without it.
const postgresPause = 5 * time.Second

// errMoved means that PostgreSQL is not where the connections look for it.
var errMoved = errors.New("PostgreSQL came back under another DSN; start keyward dev again")

// superviseDev runs the service and keeps its PostgreSQL up, which ends after it.
// While PostgreSQL is away the service goes on as with any other database: the
// JWKS are served from memory, the rest is 503.
func (p *program) superviseDev(ctx context.Context, cfg embedded.Config, pg *embedded.Server, dir string) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	kept, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fail(p.keepPostgres(kept, cfg, pg))
	}()
	err := p.serveDev(ctx, dir, pg.DSN())
	cause := context.Cause(ctx)
	end()
	<-ended
	if errors.Is(cause, errMoved) {
		return cause
	}
	return err
}

// keepPostgres starts PostgreSQL again whenever it ends, until ctx does; then
// it stops it.
func (p *program) keepPostgres(ctx context.Context, cfg embedded.Config, pg *embedded.Server) error {
	for dsn := pg.DSN(); ; {
		select {
		case <-ctx.Done():
			return pg.Stop(context.WithoutCancel(ctx)) // never fails
		case <-pg.Done():
		}
		p.log.Error("PostgreSQL ended; it will be started again", "in", postgresPause, "error", pg.Err())
		var err error
		if pg, err = p.restartPostgres(ctx, cfg); err != nil {
			return nil // ctx has ended, and PostgreSQL before it
		}
		if pg.DSN() != dsn {
			return errors.Join(errMoved, pg.Stop(context.WithoutCancel(ctx)))
		}
	}
}

// restartPostgres tries until PostgreSQL runs; its error is ctx's.
func (p *program) restartPostgres(ctx context.Context, cfg embedded.Config) (*embedded.Server, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("restart PostgreSQL: %w", ctx.Err())
		case <-time.After(postgresPause):
		}
		pg, err := embedded.Start(ctx, cfg)
		if err == nil {
			return pg, nil
		}
		p.log.Error("PostgreSQL could not be started", "error", err)
	}
}
