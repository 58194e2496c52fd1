package main

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type webhookCreateCmd struct {
	URL         string   `arg:"" name:"url" placeholder:"URL|@FILE|-" help:"Post to this URL; @FILE or - (standard input) for a URL with a secret."`
	Actions     []string `name:"action" placeholder:"ACTION" help:"Send these actions, as in key.revoked or key.*; may be repeated. Default: all."`
	Description string   `name:"description" placeholder:"TEXT" help:"Set a description for people."`
	Format      string   `name:"format" enum:"keyward,set," default:"" placeholder:"keyward|set" help:"Send audit events as JSON (keyward) or Security Event Tokens of keys and the tenant (set). Default: keyward."`
	approvalFlag
	eventScope
}

// Run is keyward webhook create.
func (c *webhookCreateCmd) Run(ctx context.Context, p *program) error {
	w, err := c.openWebhooks()
	if err != nil {
		return err
	}
	at, err := p.readWord(c.URL)
	if err != nil {
		return err
	}
	req := client.CreateWebhookRequest{URL: at, Description: nonEmpty(c.Description)}
	if c.Format != "" {
		format := client.WebhookFormat(c.Format)
		req.Format = &format
	}
	if c.Actions != nil {
		req.Actions = &c.Actions
	}
	resp, err := w.create(ctx, req, c.requestEditors()...)
	return printAnswer(p, c.JSON, resp, err, func(made client.Webhook) error {
		p.printNote("A webhook of %s. It has no secret: deliveries are signed by the platform's key,\n%s", w.ownerText(), keysURL(c.remoteFlags.URL))
		return p.showWebhook(made)
	})
}

func (s webhookAPI) create(ctx context.Context, req client.CreateWebhookRequest, edit ...client.RequestEditorFn) (*http.Response, error) {
	if s.tenant == "" {
		return s.requests.CreatePlatformWebhook(ctx, req, edit...)
	}
	return s.requests.CreateTenantWebhook(ctx, s.tenant, req, edit...)
}

type webhookUpdateCmd struct {
	webhookArg
	At          string   `name:"to" placeholder:"URL|@FILE|-" help:"Post to this URL instead."`
	Actions     []string `name:"action" xor:"actions" placeholder:"ACTION" help:"Send these actions instead; may be repeated."`
	All         bool     `name:"all-actions" xor:"actions" help:"Send all actions."`
	Description *string  `name:"description" placeholder:"TEXT" help:"Set a description for people."`
	Disable     bool     `name:"disable" xor:"status" help:"Disable the webhook; pending deliveries fail."`
	Enable      bool     `name:"enable" xor:"status" help:"Enable the webhook, for events from now on."`
	approvalFlag
	confirmFlag
}

// Run is keyward webhook update.
func (c *webhookUpdateCmd) Run(ctx context.Context, p *program) error {
	w, err := c.openWebhooks()
	if err != nil {
		return err
	}
	req, err := c.request(p)
	if err != nil {
		return err
	}
	if c.Disable {
		p.printNote("No events will be sent until it is enabled, and pending deliveries fail.")
		if err := c.confirmIfTerminal(p, "Disable "+c.ID.String()+"?"); err != nil {
			return err
		}
	}
	resp, err := w.update(ctx, c.ID, req, c.requestEditors()...)
	return printAnswer(p, c.JSON, resp, err, p.showWebhook)
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
		return req, &usageError{"no change given; see keyward webhook update --help"}
	}
	return req, nil
}

func (s webhookAPI) update(ctx context.Context, id uuid.UUID, req client.UpdateWebhookRequest, edit ...client.RequestEditorFn) (*http.Response, error) {
	if s.tenant == "" {
		return s.requests.UpdatePlatformWebhook(ctx, id, req, edit...)
	}
	return s.requests.UpdateTenantWebhook(ctx, s.tenant, id, req, edit...)
}

type webhookDeleteCmd struct {
	webhookArg
	approvalFlag
	confirmFlag
}

// Run is keyward webhook delete. The API's answer has no body.
func (c *webhookDeleteCmd) Run(ctx context.Context, p *program) error {
	w, err := c.openWebhooks()
	if err != nil {
		return err
	}
	hook, err := client.Decode[client.Webhook](w.get(ctx, c.ID))
	if err != nil {
		return err
	}
	p.printNote("A webhook of %s, for %s actions, %s; last delivery: %s.\nNothing more will be posted to %s; pending deliveries and the history of deliveries are deleted.",
		w.ownerText(), actionsText(*hook), webhookStatus(*hook), optionalText(hook.LastDeliveryAt, formatTime), urlHost(hook.URL))
	if err := c.confirm(p, "Delete it?"); err != nil {
		return err
	}
	if _, err := client.Bytes(w.delete(ctx, c.ID, c.requestEditors()...)); err != nil {
		return err
	}
	return p.printDone(c.JSON, "%s is deleted.", c.ID)
}

func (s webhookAPI) delete(ctx context.Context, id uuid.UUID, edit ...client.RequestEditorFn) (*http.Response, error) {
	if s.tenant == "" {
		return s.requests.DeletePlatformWebhook(ctx, id, edit...)
	}
	return s.requests.DeleteTenantWebhook(ctx, s.tenant, id, edit...)
}
