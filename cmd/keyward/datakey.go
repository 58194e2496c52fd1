package main

import (
	"context"
	"fmt"

	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

type rotateDataKeyCmd struct {
	Tenant string `name:"tenant" required:"" placeholder:"SLUG" help:"Select the tenant by slug or id."`
}

// Run is keyward tenant rotate-data-key.
func (c *rotateDataKeyCmd) Run(ctx context.Context, p *program) error {
	if _, err := p.masterURI(); err != nil {
		return err
	}
	d, err := p.openDB(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := requireSchema(ctx, d); err != nil {
		return err
	}
	custody, err := p.openCustody(ctx, d)
	if err != nil {
		return err
	}
	id, err := tenant.New(tenant.Config{DB: d, Now: utcNow}).Resolve(ctx, c.Tenant)
	if err != nil {
		return fmt.Errorf("%w: %s", err, c.Tenant)
	}
	store := moves.New(moves.Config{DB: d, Custody: custody, Now: utcNow, Log: p.log, JitterFraction: p.cfg.jitter})
	r, err := store.RotateDataKey(ctx, localOperator(), id)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s of %s %s sealed under version %d of its data key; the old one is destroyed.\n",
		plural.Count(r.Resealed, "private key"), c.Tenant, plural.Verb(r.Resealed, "is", "are"), r.Version)
	return err
}
