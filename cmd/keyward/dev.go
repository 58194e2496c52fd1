package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/keyward/keyward/db/embedded"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/tenant"
)

// Files in the data directory, beside the cluster.
const (
	clusterDir   = "postgres"
	masterFile   = "master.json"
	adminKeyFile = "admin.key"
)

// demoSlug is the slug of the tenant created at the first start.
const demoSlug = "demo"

type devCmd struct {
	DataDir string `name:"data-dir" var:"KEYWARD_DATA_DIR" default:".keyward" placeholder:"DIR" help:"Keep all data in this directory. Default: ${default}."`
	PGBin   string `name:"pg-bin" var:"KEYWARD_PG_BIN" placeholder:"DIR" help:"Find the PostgreSQL programs here. Default: the newest version found."`
}

// Run is keyward dev.
func (c *devCmd) Run(ctx context.Context, p *program) error {
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return err
	}
	// PostgreSQL may run as another user, which must be able to enter, not to list.
	if err := os.MkdirAll(dir, 0o711); err != nil { // #nosec G301 -- the user of PostgreSQL passes through
		return err
	}
	if p.cfg.databaseURL != "" {
		return p.serveDev(ctx, dir, "the one KEYWARD_DATABASE_URL names")
	}
	cfg := embedded.Config{Dir: filepath.Join(dir, clusterDir), BinDir: c.PGBin, Log: p.log}
	pg, err := embedded.Start(ctx, cfg)
	if err != nil {
		return err
	}
	p.cfg.databaseURL, p.cfg.listenURL = pg.DSN(), pg.DSN()
	return p.superviseDev(ctx, cfg, pg, dir)
}

// serveDev creates the master key, the schema, the admin key and the demo
// tenant, and then serves. database is the text printed about the database.
func (p *program) serveDev(ctx context.Context, dir, database string) error {
	p.cfg.expiredTokens = true
	p.cfg.startWait = 0 // somebody looks on
	if p.cfg.masterKey == "" {
		p.cfg.masterKey = "file:" + (&url.URL{Path: filepath.Join(dir, masterFile)}).EscapedPath()
		if _, err := seal.Init(ctx, p.cfg.masterKey); err != nil && !errors.Is(err, seal.ErrExists) {
			return err
		}
	}
	if err := p.migrateSchema(ctx); err != nil {
		return err
	}
	return p.serveAPI(ctx, service{works: true}, func(ctx context.Context, a *app, where urls) error {
		keyFile := filepath.Join(dir, adminKeyFile)
		if err := a.ensureAdminKey(ctx, keyFile); err != nil {
			return err
		}
		if err := a.ensureDemo(ctx); err != nil {
			return err
		}
		slug, err := a.freeSlug(ctx)
		if err != nil {
			return err
		}
		return printWelcome(p.stdout, welcomeData{URL: where.public, Admin: where.admin, KeyFile: keyFile, Database: database, DataDir: dir, Demo: demoSlug, Slug: slug})
	})
}

// ensureDemo creates the demo tenant unless it exists.
func (a *app) ensureDemo(ctx context.Context) error {
	_, err := a.tenants.Resolve(ctx, demoSlug)
	if !errors.Is(err, tenant.ErrNotFound) {
		return err
	}
	spec := tenant.Spec{Slug: demoSlug, Name: "Demo", Caching: tenant.DefaultCaching}
	_, err = a.store.CreateTenant(ctx, localOperator(), spec)
	if errors.Is(err, tenant.ErrSlugTaken) {
		return nil
	}
	return err
}

// freeSlug returns an unused slug for the tenant in the printed commands.
func (a *app) freeSlug(ctx context.Context) (string, error) {
	for n := 1; ; n++ {
		slug := "acme"
		if n > 1 {
			slug = fmt.Sprintf("acme-%d", n)
		}
		if _, err := a.tenants.Resolve(ctx, slug); err != nil {
			if errors.Is(err, tenant.ErrNotFound) {
				return slug, nil
			}
			return "", err
		}
	}
}

// ensureAdminKey replaces the key in the file unless it is still a valid
// platform admin key. After a crash the file has the old or the new key.
func (a *app) ensureAdminKey(ctx context.Context, file string) error {
	old, err := readKey(file)
	if err != nil {
		return err
	}
	who, err := a.tenants.Authenticate(ctx, old)
	if err == nil && who.Role == tenant.PlatformAdmin {
		return nil
	}
	if err != nil && !errors.Is(err, tenant.ErrUnauthenticated) {
		return err
	}
	_, key, err := a.tenants.CreateAPIKey(ctx, localOperator(), tenant.NewAPIKey{Role: tenant.PlatformAdmin, Name: "keyward dev"})
	if err != nil {
		return err
	}
	return writeKey(file, key)
}

// postgresRestartDelay is the time between the end of PostgreSQL and its restart: long
// enough for the cause to be over, and for a drill to observe the service
// without a database.
const postgresRestartDelay = 5 * time.Second

// errDSNChanged means that PostgreSQL restarted under another DSN.
var errDSNChanged = errors.New("PostgreSQL restarted with another DSN; restart keyward dev")

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
	if errors.Is(cause, errDSNChanged) {
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
		p.log.Error("PostgreSQL ended; restarting it", "restart_in", postgresRestartDelay, "error", pg.Err())
		var err error
		if pg, err = p.restartPostgres(ctx, cfg); err != nil {
			return nil // ctx is done, and PostgreSQL has ended
		}
		if pg.DSN() != dsn {
			return errors.Join(errDSNChanged, pg.Stop(context.WithoutCancel(ctx)))
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
		case <-time.After(postgresRestartDelay):
		}
		pg, err := embedded.Start(ctx, cfg)
		if err == nil {
			return pg, nil
		}
		p.log.Error("PostgreSQL start failed", "error", err)
	}
}
