package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

type apiKeyCmd struct {
	Create apiKeyCreateCmd `cmd:"" help:"Create one straight in the database and print it, this once."`
	List   apiKeyListCmd   `cmd:"" help:"List those of the platform, or of a tenant."`
	Revoke apiKeyRevokeCmd `cmd:"" help:"Revoke one, at once."`
}

type apiKeyCreateCmd struct {
	Role      string        `name:"role" required:"" placeholder:"ROLE" help:"platform_admin or platform_auditor, or with --tenant: tenant_admin, tenant_signer or tenant_auditor."`
	Tenant    string        `name:"tenant" placeholder:"SLUG" help:"Slug or id of the tenant it is for."`
	Name      string        `name:"name" help:"What people know it by."`
	ExpiresIn time.Duration `name:"expires-in" placeholder:"DURATION" help:"How long it is good, as in 720h. Default: forever."`
}

// Run is keyward api-key create. The key alone goes to the standard output.
func (c *apiKeyCreateCmd) Run(ctx context.Context, p *program) error {
	d, err := p.openDB(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := current(ctx, d); err != nil {
		return err
	}
	tenants := tenant.New(tenant.Config{DB: d, Now: now})
	wanted, err := c.wanted(ctx, tenants)
	if err != nil {
		return err
	}
	k, key, err := p.createAPIKey(ctx, d, tenants, wanted)
	if bad := (*tenant.FieldErrors)(nil); errors.As(err, &bad) {
		text := refusedFlags(bad)
		if wanted.TenantID == nil && strings.HasPrefix(c.Role, "tenant_") {
			text += "; a tenant's roles need --tenant"
		}
		return &usageError{text}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "API key %s (%s). It is not stored and cannot be shown again:\n", k.ID, k.Role)
	_, err = fmt.Fprintln(p.stdout, key)
	return err
}

func (c *apiKeyCreateCmd) wanted(ctx context.Context, tenants *tenant.Store) (tenant.NewAPIKey, error) {
	n := tenant.NewAPIKey{Role: tenant.Role(c.Role), Name: c.Name}
	if c.ExpiresIn < 0 {
		return n, &usageError{"--expires-in must be a duration above 0, as in 720h"}
	}
	if c.ExpiresIn > 0 {
		at := now().Add(c.ExpiresIn)
		n.ExpiresAt = &at
	}
	if c.Tenant == "" {
		return n, nil
	}
	id, err := tenants.Resolve(ctx, c.Tenant)
	if err != nil {
		return n, fmt.Errorf("%w: %s", err, c.Tenant)
	}
	n.TenantID = &id
	return n, nil
}

// createAPIKey makes the platform's own tenant first where that is missing and
// a master key is at hand.
func (p *program) createAPIKey(ctx context.Context, d *db.DB, tenants *tenant.Store, n tenant.NewAPIKey) (tenant.APIKey, string, error) {
	k, key, err := tenants.CreateAPIKey(ctx, operator(), n, nil)
	if !errors.Is(err, tenant.ErrNoPlatform) || p.cfg.masterKey == "" {
		return k, key, err
	}
	custody, err := p.openCustody(ctx, d)
	if err != nil {
		return k, "", err
	}
	generator := moves.NewGenerator(moves.GeneratorConfig{})
	defer generator.Close()
	store := moves.New(moves.Config{DB: d, Custody: custody, Generator: generator, Now: now, Log: p.log, JitterFraction: p.cfg.jitter})
	if err := store.EnsurePlatform(ctx, operator()); err != nil {
		return k, "", err
	}
	return tenants.CreateAPIKey(ctx, operator(), n, nil)
}

// refusedFlags names what is wrong by flag.
func refusedFlags(bad *tenant.FieldErrors) string {
	flags := map[string]string{"role": "--role", "name": "--name", "expires_at": "--expires-in"}
	text := ""
	for i, f := range bad.Fields {
		if i > 0 {
			text += "; "
		}
		name, ok := flags[f.Field]
		if !ok {
			name = f.Field
		}
		text += name + " " + f.Message
	}
	return text
}
