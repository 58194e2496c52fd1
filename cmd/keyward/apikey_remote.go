package main

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

// credentialScope holds the flags of commands about the API keys of a tenant
// or, without --tenant, of the platform.
type credentialScope struct {
	Tenant string `name:"tenant" placeholder:"SLUG" help:"Select the tenant by slug or id. Default: the platform's own keys."`
	remoteFlags
}

type apiKeyListCmd struct {
	listFlags
	credentialScope
}

// Run is keyward api-key list.
func (c *apiKeyListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	return printList(p, c.JSON, c.listFlags, rows[client.APIKey]{
		head: []string{"ID", "ROLE", "NAME", "CREATED", "EXPIRES", "LAST USED"}, none: "No items.",
		row: func(k client.APIKey) []string {
			return []string{k.ID.String(), string(k.Role), orDash(k.Name), formatTime(k.CreatedAt), optionalText(k.ExpiresAt, formatTime), optionalText(k.LastUsedAt, formatTime)}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		if c.Tenant == "" {
			return api.Requests.ListPlatformAPIKeys(ctx, &client.ListPlatformAPIKeysParams{Limit: limit, Cursor: cursor})
		}
		return api.Requests.ListTenantAPIKeys(ctx, c.Tenant, &client.ListTenantAPIKeysParams{Limit: limit, Cursor: cursor})
	})
}

type apiKeyRevokeCmd struct {
	ID uuid.UUID `arg:"" name:"id" help:"Select the API key by id, as keyward api-key list prints it."`
	credentialScope
	confirmFlag
}

// Run is keyward api-key revoke. The API's answer has no body.
func (c *apiKeyRevokeCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	p.printNote("Requests with the API key %s will be refused at once.", c.ID)
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
	return p.printDone(c.JSON, "%s is revoked.", c.ID)
}
