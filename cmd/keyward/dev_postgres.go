package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyward/keyward/db/embedded"
)

// postgresPause is the time between the end of PostgreSQL and its restart: long
// enough for the cause to be over, and for a drill to observe the service
// without a database.
const postgresPause = 5 * time.Second

// errMoved means that PostgreSQL restarted under another DSN.
var errMoved = errors.New("PostgreSQL restarted with another DSN; restart keyward dev")

// superviseDev runs the service and restarts its PostgreSQL whenever it ends;
// PostgreSQL stops last. Meanwhile the service behaves as with any other
// database: JWKS are served from memory, other requests get 503.
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

// keepPostgres restarts PostgreSQL whenever it ends, until ctx is done; then it
// stops it.
func (p *program) keepPostgres(ctx context.Context, cfg embedded.Config, pg *embedded.Server) error {
	for dsn := pg.DSN(); ; {
		select {
		case <-ctx.Done():
			return pg.Stop(context.WithoutCancel(ctx)) // always nil
		case <-pg.Done():
		}
		p.log.Error("PostgreSQL ended; restarting it", "restart_in", postgresPause, "error", pg.Err())
		var err error
		if pg, err = p.restartPostgres(ctx, cfg); err != nil {
			return nil // ctx is done, and PostgreSQL has ended
		}
		if pg.DSN() != dsn {
			return errors.Join(errMoved, pg.Stop(context.WithoutCancel(ctx)))
		}
	}
}

// restartPostgres tries until PostgreSQL runs. It returns an error only if ctx
// is done.
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
		p.log.Error("PostgreSQL start failed", "error", err)
	}
}
