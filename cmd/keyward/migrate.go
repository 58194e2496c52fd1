package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/plural"
)

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Apply pending migrations."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations and when they were applied; exit 1 if one is pending."`
}

type (
	migrateUpCmd     struct{}
	migrateStatusCmd struct{}
)

// Run is keyward migrate up.
func (migrateUpCmd) Run(ctx context.Context, p *program) error {
	if err := p.migrateSchema(ctx); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.stdout, "The schema is up to date.")
	return err
}

// Run is keyward migrate status.
func (migrateStatusCmd) Run(ctx context.Context, p *program) error {
	if err := p.needDatabase(); err != nil {
		return err
	}
	list, err := db.MigrationStatus(ctx, p.cfg.listenURL)
	if err != nil {
		return err
	}
	pending := 0
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, m := range list {
		applied := "pending"
		if !m.AppliedAt.IsZero() {
			applied = m.AppliedAt.UTC().Format(time.RFC3339)
		} else {
			pending++
		}
		fmt.Fprintf(w, "%s\t%s\n", m.Name, applied)
	}
	if err := w.Flush(); err != nil || pending == 0 {
		return err
	}
	return fmt.Errorf("pending: %s\n  run keyward migrate up", plural.Count(pending, "migration"))
}
