package main

import (
	"context"
	"fmt"

	"github.com/keyward/keyward/db"
)

type recoverCmd struct{}

// Run is keyward recover.
func (c *recoverCmd) Run(ctx context.Context, p *program) error {
	if err := p.needDatabase(); err != nil {
		return err
	}
	done, err := db.MendGuards(ctx, p.cfg.listenURL)
	if err != nil {
		return fmt.Errorf("%w\n  use the login of a superuser, or the one that owns the schema and may create roles", err)
	}
	for _, statement := range done {
		fmt.Fprintln(p.stdout, statement)
	}
	fmt.Fprintf(p.stdout, "%d roles, privileges, policies and triggers were restored.\n", len(done))
	return nil
}
