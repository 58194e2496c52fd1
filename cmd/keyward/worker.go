package main

import "context"

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
	a, err := p.openApp(ctx, p.cfg.publicURL)
	if err != nil {
		return err
	}
	defer a.close()
	a.runsWorker = true
	a.log.Info("working", "holder", process)
	a.startBackground(ctx)()
	return nil
}
