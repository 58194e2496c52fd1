package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

type benchCmd struct {
	Seed benchSeedCmd `cmd:"" help:"Fill a database with tenants that have a history, and verify a sample of them."`
}

type benchSeedCmd struct {
	Tenants int    `name:"tenants" required:"" placeholder:"N" help:"Set the number of tenants."`
	Keys    int    `name:"keys" default:"4" placeholder:"N" help:"Set the keys of each tenant: one active, one standby, the others deprecated. Default: ${default}."`
	Events  int    `name:"events" default:"12" placeholder:"N" help:"Set the audit events of each tenant, at least 3 for each key. Default: ${default}."`
	Prefix  string `name:"prefix" default:"bench" placeholder:"TEXT" help:"Begin the slugs with this text. Default: ${default}."`
	Force   bool   `name:"force" help:"Allow a database that already has tenants."`
}

// Run is keyward bench seed. It needs a superuser's login, because it bypasses
// the guards of the database. It prints the elapsed time.
func (c *benchSeedCmd) Run(ctx context.Context, p *program) error {
	a, err := p.openApp(ctx, p.cfg.publicURL)
	if err != nil {
		return err
	}
	defer a.close()
	if err := c.checkEmpty(ctx, a); err != nil {
		return err
	}
	began := time.Now()
	err = moves.Seed{Tenants: c.Tenants, Keys: c.Keys, Events: c.Events, Prefix: c.Prefix}.Write(ctx, a.store, localOperator(), func(done moves.SeedProgress) {
		fmt.Fprintf(p.stderr, "%d of %s, %d of %s\n", done.Tenants, plural.Count(c.Tenants, "tenant"), done.Events, plural.Count(c.Tenants*c.Events, "event"))
	})
	switch {
	case errors.Is(err, moves.ErrBadSeed):
		return &usageError{"--tenants must be at least 1, --keys from 2 to 16, and --events at least three times --keys"}
	case errors.Is(err, moves.ErrNotSuperuser):
		return fmt.Errorf("%w\n  set KEYWARD_DATABASE_URL to a superuser's login and an expendable database", err)
	case errors.Is(err, tenant.ErrSlugTaken):
		return fmt.Errorf("%w\n  choose another --prefix", err)
	case err != nil:
		return err
	}
	took := time.Since(began)
	rows := c.Tenants * (3 + c.Keys + c.Events)
	fmt.Fprintf(p.stdout, "%s, %s in %v: %.0f rows a second.\n", plural.Count(c.Tenants, "tenant"), plural.Count(rows, "row"), took.Round(time.Millisecond), float64(rows)/took.Seconds())
	return c.verifySample(ctx, p, a)
}

// checkEmpty refuses a database that already has tenants, unless --force is
// given.
func (c *benchSeedCmd) checkEmpty(ctx context.Context, a *app) error {
	if c.Force {
		return nil
	}
	some, _, err := a.tenants.List(ctx, tenant.ListFilter{Limit: 2})
	if err != nil {
		return err
	}
	for _, t := range some {
		if t.Slug != tenant.PlatformSlug {
			return &usageError{"the database has tenants already, " + t.Slug + " among them; seeded rows cannot be removed. --force adds them anyway"}
		}
	}
	return nil
}

// sampleSize is the number of tenants to verify.
const sampleSize = 100

// verifySample verifies some of the tenants: their history, their key rows, and
// a token signed by their key.
func (c *benchSeedCmd) verifySample(ctx context.Context, p *program, a *app) error {
	for i := range min(sampleSize, c.Tenants) {
		t, err := a.tenants.Get(ctx, moves.Seed{Prefix: c.Prefix}.Slug(i*(c.Tenants/min(sampleSize, c.Tenants))))
		if err != nil {
			return err
		}
		if _, err := verifyHistory(ctx, a.tenants, a.audit, a.signer, t); err != nil {
			return err
		}
		token, err := a.signer.SignToken(ctx, t.Slug, signing.Order{})
		if err != nil {
			return fmt.Errorf("%s signs no token: %w", t.Slug, err)
		}
		if _, err := a.signer.Verify(ctx, t.Slug, signing.VerifyRequest{Token: token.Token}); err != nil {
			return fmt.Errorf("a token of %s does not verify: %w", t.Slug, err)
		}
	}
	_, err := fmt.Fprintf(p.stdout, "%d of them verified: history intact, keys consistent with it, tokens sign and verify.\n", min(sampleSize, c.Tenants))
	return err
}
