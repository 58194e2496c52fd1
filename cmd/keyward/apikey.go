package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

type apiKeyCmd struct {
	Create apiKeyCreateCmd `cmd:"" help:"Create an API key in the database, by the master key, and print it once."`
	List   apiKeyListCmd   `cmd:"" help:"List the API keys of the platform or of a tenant."`
	Revoke apiKeyRevokeCmd `cmd:"" help:"Revoke an API key, with immediate effect."`
}

type apiKeyCreateCmd struct {
	Role      string        `name:"role" required:"" placeholder:"ROLE" help:"Grant this role: platform_admin or platform_auditor, or with --tenant: tenant_admin, tenant_signer, tenant_auditor or tenant_verifier (key-events only)."`
	Tenant    string        `name:"tenant" placeholder:"SLUG" help:"Create the key for this tenant (slug or id)."`
	Name      string        `name:"name" help:"Set a description for people."`
	ExpiresIn time.Duration `name:"expires-in" placeholder:"DURATION" help:"Set the lifetime, as in 720h. Default: unlimited."`
}

// Run is keyward api-key create. Only the key is written to stdout.
func (c *apiKeyCreateCmd) Run(ctx context.Context, p *program) error {
	d, err := p.openDB(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := requireSchema(ctx, d); err != nil {
		return err
	}
	if p.cfg.masterKey == "" {
		return errors.New("KEYWARD_MASTER_KEY (--master-key) is not set: nobody believes an API key that is written without the master key")
	}
	custody, err := p.openCustody(ctx, d)
	if err != nil {
		return err
	}
	tenants := tenant.New(tenant.Config{DB: d, Now: utcNow, Authority: custody.Authority()})
	wanted, err := c.newAPIKey(ctx, tenants)
	if err != nil {
		return err
	}
	k, key, err := p.createAPIKey(ctx, d, custody, tenants, wanted)
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

func (c *apiKeyCreateCmd) newAPIKey(ctx context.Context, tenants *tenant.Store) (tenant.NewAPIKey, error) {
	n := tenant.NewAPIKey{Role: tenant.Role(c.Role), Name: c.Name}
	if c.ExpiresIn < 0 {
		return n, &usageError{"--expires-in must be a duration above 0, as in 720h"}
	}
	if c.ExpiresIn > 0 {
		at := utcNow().Add(c.ExpiresIn)
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

// createAPIKey creates an API key, and the platform tenant first if that is missing.
func (p *program) createAPIKey(ctx context.Context, d *db.DB, custody *custody.Custody, tenants *tenant.Store, n tenant.NewAPIKey) (tenant.APIKey, string, error) {
	k, key, err := tenants.CreateAPIKey(ctx, localOperator(), n)
	if !errors.Is(err, tenant.ErrNoPlatform) {
		return k, key, err
	}
	generator := moves.NewGenerator(moves.GeneratorConfig{})
	defer generator.Close()
	store := moves.New(moves.Config{DB: d, Custody: custody, Generator: generator, Now: utcNow, Log: p.log, JitterFraction: p.cfg.jitter})
	if err := store.EnsurePlatform(ctx, localOperator()); err != nil {
		return k, "", err
	}
	return tenants.CreateAPIKey(ctx, localOperator(), n)
}

// refusedFlags describes invalid fields by the names of their flags.
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
