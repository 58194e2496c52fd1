package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

type benchCmd struct {
	Seed benchSeedCmd `cmd:"" help:"Fill a database with tenants that have a past, and prove a sample of them."`
}

type benchSeedCmd struct {
	Tenants int    `name:"tenants" required:"" placeholder:"N" help:"How many."`
	Keys    int    `name:"keys" default:"4" placeholder:"N" help:"Keys of each: one active, one standby, the others deprecated. Default: ${default}."`
	Events  int    `name:"events" default:"12" placeholder:"N" help:"Audit events of each, 3 for each key at least. Default: ${default}."`
	Prefix  string `name:"prefix" default:"bench" placeholder:"TEXT" help:"What their slugs begin with. Default: ${default}."`
	Force   bool   `name:"force" help:"Also into a database that has tenants already."`
}

// Run is keyward bench seed. It needs a superuser's login, because it passes
// the guards of the database over, and says how long it took.
func (c *benchSeedCmd) Run(ctx context.Context, p *program) error {
	a, err := p.openApp(ctx, p.cfg.publicURL)
	if err != nil {
		return err
	}
	defer a.close()
	if err := c.mayFill(ctx, a); err != nil {
		return err
	}
	began := time.Now()
	err = a.store.Seed(ctx, operator(), moves.Seed{Tenants: c.Tenants, Keys: c.Keys, Events: c.Events, Prefix: c.Prefix}, func(done int) {
		fmt.Fprintf(p.stderr, "%d of %d tenants\n", done, c.Tenants)
	})
	switch {
	case errors.Is(err, moves.ErrBadSeed):
		return &usageError{"--tenants must be at least 1, --keys from 2 to 16, and --events at least three times --keys"}
	case errors.Is(err, moves.ErrNotSuperuser):
		return fmt.Errorf("%w\n  let KEYWARD_DATABASE_URL log in as one, to a database that holds nothing of worth", err)
	case errors.Is(err, tenant.ErrSlugTaken):
		return fmt.Errorf("%w\n  choose another --prefix", err)
	case err != nil:
		return err
	}
	took := time.Since(began)
	rows := c.Tenants * (3 + c.Keys + c.Events)
	fmt.Fprintf(p.stdout, "%d tenants, %d rows in %v: %.0f rows a second.\n", c.Tenants, rows, took.Round(time.Millisecond), float64(rows)/took.Seconds())
	return c.prove(ctx, p, a)
}

// mayFill refuses a database that somebody may still need.
func (c *benchSeedCmd) mayFill(ctx context.Context, a *app) error {
	if c.Force {
		return nil
	}
	some, _, err := a.tenants.List(ctx, tenant.ListFilter{Limit: 2})
	if err != nil {
		return err
	}
	for _, t := range some {
		if t.Slug != tenant.PlatformSlug {
			return &usageError{"the database has tenants already, " + t.Slug + " among them; rows of a seed are never removed again. --force adds them all the same"}
		}
	}
	return nil
}

// sampled is how many of the tenants are proved.
const sampled = 100

// prove looks at some of the tenants as everything else in the program does:
// their history, their rows, and a token that their key signs.
func (c *benchSeedCmd) prove(ctx context.Context, p *program, a *app) error {
	for i := range min(sampled, c.Tenants) {
		t, err := a.tenants.Get(ctx, moves.Seed{Prefix: c.Prefix}.Slug(i*(c.Tenants/min(sampled, c.Tenants))))
		if err != nil {
			return err
		}
		if _, err := proveHistory(ctx, a.audit, a.signer, t); err != nil {
			return err
		}
		token, err := a.signer.SignToken(ctx, t.Slug, signing.Order{})
		if err != nil {
			return fmt.Errorf("%s signs no token: %w", t.Slug, err)
		}
		if _, err := a.signer.Verify(ctx, t.Slug, signing.Inquiry{Token: token.Token}); err != nil {
			return fmt.Errorf("a token of %s does not verify: %w", t.Slug, err)
		}
	}
	_, err := fmt.Fprintf(p.stdout, "%d of them proved: history intact, keys as it has them, tokens sign and verify.\n", min(sampled, c.Tenants))
	return err
}
