package main

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type webhookCreateCmd struct {
	URL         string   `arg:"" name:"url" placeholder:"URL|@FILE|-" help:"Where to post to. If it has a secret in it: @FILE, or - for the standard input."`
	Actions     []string `name:"action" placeholder:"ACTION" help:"Of which to tell, as in key.revoked or key.*; may be repeated. Default: all."`
	Description string   `name:"description" placeholder:"TEXT" help:"What people know it by."`
	anyTenant
}

// Run is keyward webhook create.
func (c *webhookCreateCmd) Run(ctx context.Context, p *program) error {
	w, err := c.webhooks()
	if err != nil {
		return err
	}
	at, err := p.readWord(c.URL)
	if err != nil {
		return err
	}
	req := client.CreateWebhookRequest{URL: at, Description: given(c.Description)}
	if c.Actions != nil {
		req.Actions = &c.Actions
	}
	resp, err := w.create(ctx, req)
	return answered(p, c.JSON, resp, err, func(made client.Webhook) error {
		p.evidence("A webhook of %s. It has no secret: deliveries are signed by the platform's key,\n%s", w.whose(), keysURL(c.remote.URL))
		return p.showWebhook(made)
	})
}

func (s someWebhooks) create(ctx context.Context, req client.CreateWebhookRequest) (*http.Response, error) {
	once := client.Once(client.NewKey())
	if s.tenant == "" {
		return s.requests.CreatePlatformWebhook(ctx, nil, req, once)
	}
	return s.requests.CreateTenantWebhook(ctx, s.tenant, nil, req, once)
}

type webhookUpdateCmd struct {
	aWebhook
	At          string   `name:"to" placeholder:"URL|@FILE|-" help:"Where to post to."`
	Actions     []string `name:"action" xor:"actions" placeholder:"ACTION" help:"Of which to tell, in place of those so far; may be repeated."`
	All         bool     `name:"all-actions" xor:"actions" help:"Tell of all."`
	Description *string  `name:"description" placeholder:"TEXT" help:"What people know it by."`
	Disable     bool     `name:"disable" xor:"status" help:"Tell it of nothing; what is pending fails."`
	Enable      bool     `name:"enable" xor:"status" help:"Go on with what happens from now on."`
	asking
}

// Run is keyward webhook update.
func (c *webhookUpdateCmd) Run(ctx context.Context, p *program) error {
	w, err := c.webhooks()
	if err != nil {
		return err
	}
	req, err := c.request(p)
	if err != nil {
		return err
	}
	if c.Disable {
		p.evidence("It will be told of nothing until it is enabled, and what is pending fails.")
		if err := c.ask(p, "Disable "+c.ID.String()+"?"); err != nil {
			return err
		}
	}
	resp, err := w.update(ctx, c.ID, req)
	return answered(p, c.JSON, resp, err, p.showWebhook)
}

func (c *webhookUpdateCmd) request(p *program) (req client.UpdateWebhookRequest, err error) {
	if c.At != "" {
		at, err := p.readWord(c.At)
		if err != nil {
			return req, err
		}
		req.URL = &at
	}
	if c.All {
		c.Actions = []string{}
	}
	if c.Actions != nil {
		req.Actions = &c.Actions
	}
	switch {
	case c.Disable:
		req.Status = new(client.WebhookStatusDisabled)
	case c.Enable:
		req.Status = new(client.WebhookStatusActive)
	}
	if req.Description = c.Description; req == (client.UpdateWebhookRequest{}) {
		return req, &usageError{"what shall change? see keyward webhook update --help"}
	}
	return req, nil
}

func (s someWebhooks) update(ctx context.Context, id uuid.UUID, req client.UpdateWebhookRequest) (*http.Response, error) {
	if s.tenant == "" {
		return s.requests.UpdatePlatformWebhook(ctx, id, req)
	}
	return s.requests.UpdateTenantWebhook(ctx, s.tenant, id, req)
}

type webhookDeleteCmd struct {
	aWebhook
	asking
}

// Run is keyward webhook delete. The API answers nothing.
func (c *webhookDeleteCmd) Run(ctx context.Context, p *program) error {
	w, err := c.webhooks()
	if err != nil {
		return err
	}
	hook, err := client.Decode[client.Webhook](w.get(ctx, c.ID))
	if err != nil {
		return err
	}
	p.evidence("A webhook of %s, for %s actions, %s; last taken: %s.\nNothing more will be posted to %s, also not what is pending; its deliveries are forgotten.",
		w.whose(), toldOf(*hook), webhookStatus(*hook), maybe(hook.LastDeliveryAt, when), hostOf(hook.URL))
	if err := c.confirm(p, "Delete it?"); err != nil {
		return err
	}
	if _, err := client.Bytes(w.delete(ctx, c.ID)); err != nil {
		return err
	}
	return p.told(c.JSON, "%s is deleted.", c.ID)
}

func (s someWebhooks) delete(ctx context.Context, id uuid.UUID) (*http.Response, error) {
	if s.tenant == "" {
		return s.requests.DeletePlatformWebhook(ctx, id)
	}
	return s.requests.DeleteTenantWebhook(ctx, s.tenant, id)
}
