package main

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

// oneTenant is a remote for credentials: of a tenant, or of the platform.
type oneTenant struct {
	Tenant string `name:"tenant" placeholder:"SLUG" help:"Slug or id of the tenant. Default: the platform's own."`
	remote
}

type apiKeyListCmd struct {
	listing
	oneTenant
}

// Run is keyward api-key list.
func (c *apiKeyListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	return list(p, c.JSON, c.listing, rows[client.APIKey]{
		head: []string{"ID", "ROLE", "NAME", "CREATED", "EXPIRES", "LAST USED"}, none: "There is none.",
		row: func(k client.APIKey) []string {
			return []string{k.ID.String(), string(k.Role), dash(k.Name), when(k.CreatedAt), maybe(k.ExpiresAt, when), maybe(k.LastUsedAt, when)}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		if c.Tenant == "" {
			return api.Requests.ListPlatformAPIKeys(ctx, &client.ListPlatformAPIKeysParams{Limit: limit, Cursor: cursor})
		}
		return api.Requests.ListTenantAPIKeys(ctx, c.Tenant, &client.ListTenantAPIKeysParams{Limit: limit, Cursor: cursor})
	})
}

type apiKeyRevokeCmd struct {
	ID uuid.UUID `arg:"" name:"id" help:"As keyward api-key list shows it."`
	oneTenant
	asking
}

// Run is keyward api-key revoke. The API answers nothing.
func (c *apiKeyRevokeCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	p.evidence("Whoever uses the API key %s will be refused at once.", c.ID)
	if err := c.confirm(p, "Revoke it?"); err != nil {
		return err
	}
	if c.Tenant == "" {
		err = api.RevokePlatformAPIKey(ctx, c.ID)
	} else {
		err = api.RevokeTenantAPIKey(ctx, c.Tenant, c.ID)
	}
	if err != nil {
		return err
	}
	return p.told(c.JSON, "%s is revoked.", c.ID)
}
