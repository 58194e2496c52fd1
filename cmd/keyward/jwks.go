package main

import (
	"context"
	"fmt"
	"io"

	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys/snapshot"
)

type jwksCmd struct {
	Tenant string `name:"tenant" required:"" placeholder:"SLUG" help:"Select the tenant by slug or id."`
	Out    string `name:"out" placeholder:"FILE" help:"Write to this file, atomically. Default: standard output."`
}

// Run is keyward tenant jwks. It needs no master key, since it reads with the
// role for public data.
func (c *jwksCmd) Run(ctx context.Context, p *program) error {
	d, err := p.openDB(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := requireSchema(ctx, d); err != nil {
		return err
	}
	unheard := func() age.Instant { return age.Instant{} }
	snapshots := snapshot.New(snapshot.Config{DB: d, PublicURL: p.cfg.publicURL, Now: utcNow, Log: p.log, HeardUntil: unheard})
	s, _, err := snapshots.Get(ctx, c.Tenant)
	if err != nil {
		return fmt.Errorf("%w: %s", err, c.Tenant)
	}
	if c.Out == "" {
		_, err = fmt.Fprintf(p.stdout, "%s\n", s.JWKS)
		return err
	}
	return replaceFile(c.Out, 0o644, func(w io.Writer) error {
		_, err := w.Write(s.JWKS)
		return err
	})
}
