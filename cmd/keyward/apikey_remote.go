package main

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
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
		head: []string{"ID", "ROLE", "NAME", "CREATED", "EXPIRES", "LAST USED", "MADE BY"}, none: "No items.",
		row: func(k client.APIKey) []string {
			return []string{k.ID.String(), string(k.Role), orDash(k.Name), formatTime(k.CreatedAt), optionalText(k.ExpiresAt, formatTime), optionalText(k.LastUsedAt, formatTime), optionalText(k.CreatedBy, actorLabel)}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		if c.Tenant == "" {
			return api.Requests.ListPlatformAPIKeys(ctx, &client.ListPlatformAPIKeysParams{Limit: limit, Cursor: cursor})
		}
		return api.Requests.ListTenantAPIKeys(ctx, c.Tenant, &client.ListTenantAPIKeysParams{Limit: limit, Cursor: cursor})
	})
}

type apiKeyRevokeCmd struct {
	ID       uuid.UUID `arg:"" name:"id" help:"Select the API key by id, as keyward api-key list prints it."`
	Children bool      `name:"children" help:"Revoke also the API keys and workload identities that this one made, and that these made."`
	approvalFlag
	credentialScope
	confirmFlag
}

// Run is keyward api-key revoke.
func (c *apiKeyRevokeCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	p.printNote("Requests with the API key %s will be refused at once.", c.ID)
	if err := c.confirm(p, "Revoke it?"); err != nil {
		return err
	}
	var done *client.RevokedAPIKeys
	if c.Tenant == "" {
		done, err = api.RevokePlatformAPIKey(ctx, c.ID, c.Children, c.requestEditors()...)
	} else {
		done, err = api.RevokeTenantAPIKey(ctx, c.Tenant, c.ID, c.Children, c.requestEditors()...)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(done)
	}
	if err := p.printDone(false, "%s is revoked.", c.ID); err != nil {
		return err
	}
	if done.ChildrenRevoked > 0 {
		p.printNote("Revoked too: %s that it made, or that these made.", plural.Count(done.ChildrenRevoked, "credential"))
	}
	if done.ChildrenLeft > 0 {
		p.printNote("Still valid: %s that it made, or that these made.", plural.Count(done.ChildrenLeft, "credential"))
	}
	return nil
}
