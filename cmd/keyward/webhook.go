package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type webhookCmd struct {
	Create     webhookCreateCmd     `cmd:"" help:"Create a webhook: post events to a URL."`
	List       webhookListCmd       `cmd:"" help:"List webhooks, newest first."`
	Show       webhookShowCmd       `cmd:"" help:"Show a webhook."`
	Update     webhookUpdateCmd     `cmd:"" help:"Change, disable or enable a webhook."`
	Delete     webhookDeleteCmd     `cmd:"" help:"Delete a webhook and its deliveries."`
	Deliveries webhookDeliveriesCmd `cmd:"" help:"List the deliveries of a webhook, newest first."`
	Redeliver  webhookRedeliverCmd  `cmd:"" help:"Repeat a delivery."`
}

// webhookAPI calls the webhook operations of a tenant or, without one, of the
// platform.
type webhookAPI struct {
	requests *client.Requests
	tenant   string
}

// openWebhooks returns the webhook operations for the selected tenant.
func (t eventScope) openWebhooks() (webhookAPI, error) {
	c, err := t.openClient()
	if err != nil {
		return webhookAPI{}, err
	}
	return webhookAPI{c.Requests, t.Tenant}, nil
}

// ownerText describes the owner and the events of the webhooks.
func (s webhookAPI) ownerText() string {
	if s.tenant == "" {
		return "the platform, for the events of all tenants"
	}
	return s.tenant
}

func (s webhookAPI) get(ctx context.Context, id uuid.UUID) (*http.Response, error) {
	if s.tenant == "" {
		return s.requests.GetPlatformWebhook(ctx, id)
	}
	return s.requests.GetTenantWebhook(ctx, s.tenant, id)
}

// webhookArg holds the argument and flags of commands about one webhook.
type webhookArg struct {
	ID uuid.UUID `arg:"" name:"id" help:"Select the webhook by id, as keyward webhook list prints it."`
	eventScope
}

type webhookListCmd struct {
	listFlags
	eventScope
}

// Run is keyward webhook list.
func (c *webhookListCmd) Run(ctx context.Context, p *program) error {
	w, err := c.openWebhooks()
	if err != nil {
		return err
	}
	return printList(p, c.JSON, c.listFlags, rows[client.Webhook]{
		head: []string{"ID", "STATUS", "URL", "ACTIONS", "LAST DELIVERY", "DESCRIPTION"}, none: "No items.",
		row: func(w client.Webhook) []string {
			return []string{w.ID.String(), webhookStatus(w), w.URL, actionsText(w), optionalText(w.LastDeliveryAt, formatTime), optionalText(w.Description, orDash)}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		if w.tenant == "" {
			return w.requests.ListPlatformWebhooks(ctx, &client.ListPlatformWebhooksParams{Limit: limit, Cursor: cursor})
		}
		return w.requests.ListTenantWebhooks(ctx, w.tenant, &client.ListTenantWebhooksParams{Limit: limit, Cursor: cursor})
	})
}

type webhookShowCmd struct{ webhookArg }

// Run is keyward webhook show.
func (c *webhookShowCmd) Run(ctx context.Context, p *program) error {
	w, err := c.openWebhooks()
	if err != nil {
		return err
	}
	resp, err := w.get(ctx, c.ID)
	return printAnswer(p, c.JSON, resp, err, p.showWebhook)
}

func (p *program) showWebhook(w client.Webhook) error {
	var out table
	out.add("id", w.ID.String())
	out.add("url", w.URL)
	out.add("actions", actionsText(w))
	out.add("format", string(w.Format))
	out.add("description", optionalText(w.Description, orDash))
	out.add("status", webhookStatus(w))
	out.add("last delivery", optionalText(w.LastDeliveryAt, formatTime))
	out.add("created", formatTime(w.CreatedAt))
	out.add("updated", formatTime(w.UpdatedAt))
	return p.printTable(out)
}

// webhookStatus returns the status, with the reason if disabled.
func webhookStatus(w client.Webhook) string {
	if w.DisabledReason == nil {
		return string(w.Status)
	}
	return fmt.Sprintf("%s (%s)", w.Status, *w.DisabledReason)
}

func actionsText(w client.Webhook) string {
	if len(w.Actions) == 0 {
		return "all"
	}
	return strings.Join(w.Actions, ",")
}

// urlHost returns the host of a URL, since the rest may be a secret.
func urlHost(at string) string {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return "its URL"
	}
	return u.Host
}
