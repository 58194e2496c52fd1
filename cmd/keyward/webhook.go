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
	Create     webhookCreateCmd     `cmd:"" help:"Have events posted to a URL."`
	List       webhookListCmd       `cmd:"" help:"List them, newest first."`
	Show       webhookShowCmd       `cmd:"" help:"Show one."`
	Update     webhookUpdateCmd     `cmd:"" help:"Change one, disable it, enable it."`
	Delete     webhookDeleteCmd     `cmd:"" help:"Post nothing more, and forget the URL."`
	Deliveries webhookDeliveriesCmd `cmd:"" help:"List what became of its deliveries, newest first."`
	Redeliver  webhookRedeliverCmd  `cmd:"" help:"Post a delivery once more."`
}

// someWebhooks are those of a tenant or, without one, of the platform.
type someWebhooks struct {
	requests *client.Requests
	tenant   string
}

// webhooks is open for commands about webhooks.
func (t anyTenant) webhooks() (someWebhooks, error) {
	c, err := t.open()
	if err != nil {
		return someWebhooks{}, err
	}
	return someWebhooks{c.Requests, t.Tenant}, nil
}

// whose says of which events they are told.
func (s someWebhooks) whose() string {
	if s.tenant == "" {
		return "the platform, told of all tenants' events"
	}
	return s.tenant
}

func (s someWebhooks) get(ctx context.Context, id uuid.UUID) (*http.Response, error) {
	if s.tenant == "" {
		return s.requests.GetPlatformWebhook(ctx, id)
	}
	return s.requests.GetTenantWebhook(ctx, s.tenant, id)
}

// aWebhook names one.
type aWebhook struct {
	ID uuid.UUID `arg:"" name:"id" help:"As keyward webhook list shows it."`
	anyTenant
}

type webhookListCmd struct {
	listing
	anyTenant
}

// Run is keyward webhook list.
func (c *webhookListCmd) Run(ctx context.Context, p *program) error {
	w, err := c.webhooks()
	if err != nil {
		return err
	}
	return list(p, c.JSON, c.listing, rows[client.Webhook]{
		head: []string{"ID", "STATUS", "URL", "ACTIONS", "LAST TAKEN", "DESCRIPTION"}, none: "There is none.",
		row: func(w client.Webhook) []string {
			return []string{w.ID.String(), webhookStatus(w), w.URL, toldOf(w), maybe(w.LastDeliveryAt, when), maybe(w.Description, dash)}
		},
	}, func(limit *int, cursor *string) (*http.Response, error) {
		if w.tenant == "" {
			return w.requests.ListPlatformWebhooks(ctx, &client.ListPlatformWebhooksParams{Limit: limit, Cursor: cursor})
		}
		return w.requests.ListTenantWebhooks(ctx, w.tenant, &client.ListTenantWebhooksParams{Limit: limit, Cursor: cursor})
	})
}

type webhookShowCmd struct{ aWebhook }

// Run is keyward webhook show.
func (c *webhookShowCmd) Run(ctx context.Context, p *program) error {
	w, err := c.webhooks()
	if err != nil {
		return err
	}
	resp, err := w.get(ctx, c.ID)
	return answered(p, c.JSON, resp, err, p.showWebhook)
}

func (p *program) showWebhook(w client.Webhook) error {
	var out table
	out.add("id", w.ID.String())
	out.add("url", w.URL)
	out.add("actions", toldOf(w))
	out.add("description", maybe(w.Description, dash))
	out.add("status", webhookStatus(w))
	out.add("last taken", maybe(w.LastDeliveryAt, when))
	out.add("created", when(w.CreatedAt))
	out.add("updated", when(w.UpdatedAt))
	return p.show(out)
}

// webhookStatus says also why one is disabled.
func webhookStatus(w client.Webhook) string {
	if w.DisabledReason == nil {
		return string(w.Status)
	}
	return fmt.Sprintf("%s (%s)", w.Status, *w.DisabledReason)
}

func toldOf(w client.Webhook) string {
	if len(w.Actions) == 0 {
		return "all"
	}
	return strings.Join(w.Actions, ",")
}

// hostOf is what may be said of a URL whose rest may be a secret.
func hostOf(at string) string {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return "its URL"
	}
	return u.Host
}
