package console

import (
	"context"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type webhooksPage struct {
	form
	Items []client.Webhook
	Next  string
}

func listWebhooks(v *visit) error {
	if err := v.scope(); err != nil {
		return err
	}
	return v.showWebhooks(webhooksPage{form: form{Values: url.Values{}}}, 200)
}

func (v *visit) showWebhooks(p webhooksPage, status int) error {
	if !v.ScopeCan("list", "Webhooks") {
		return forbidden
	}
	var (
		list  *client.WebhookListResponse
		err   error
		after *string
	)
	if c := v.Query("cursor"); c != "" {
		after = &c
	}
	if v.Tenant != nil {
		list, err = v.api.ListTenantWebhooks(v.r.Context(), v.Tenant.Slug, &client.ListTenantWebhooksParams{Limit: new(50), Cursor: after})
	} else {
		list, err = v.api.ListPlatformWebhooks(v.r.Context(), &client.ListPlatformWebhooksParams{Limit: new(50), Cursor: after})
	}
	if err != nil {
		return err
	}
	p.Items, p.Nonce = list.Items, client.NewKey()
	if list.NextCursor != nil {
		p.Next = "cursor=" + query(*list.NextCursor)
	}
	return v.renderStatus(status, "webhooks.html", "Webhooks", p)
}

func createWebhook(v *visit) error {
	if err := v.scope(); err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	p := webhooksPage{form: form{Values: v.r.PostForm}}
	body := client.CreateWebhookRequest{URL: strings.TrimSpace(p.V("url"))}
	setText(&body.Description, p.Values, "description")
	actions := strings.FieldsFunc(p.V("actions"), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' })
	if len(actions) > 0 {
		body.Actions = &actions
	}
	hook, err := v.makeWebhook(v.r.Context(), body)
	if err == nil {
		return v.redirect(v.Base() + "/webhooks/" + hook.ID.String())
	}
	if shown, err := v.showAwaiting(err); shown {
		return err
	}
	var shown bool
	p.Fields, p.Error, shown = formErrorsOf(err, func(list string, i int) (field, item string) {
		if list != "actions" || i < 0 || i >= len(actions) {
			return "", ""
		}
		return list, actions[i]
	})
	if !shown {
		return err
	}
	return v.showWebhooks(p, 422)
}

func (v *visit) makeWebhook(ctx context.Context, body client.CreateWebhookRequest) (*client.Webhook, error) {
	if v.Tenant != nil {
		return v.api.CreateTenantWebhook(ctx, v.Tenant.Slug, body, v.changes()...)
	}
	return v.api.CreatePlatformWebhook(ctx, body, v.changes()...)
}

type webhookPage struct {
	Hook       client.Webhook
	Deliveries []client.WebhookDelivery
	Next       string
	Status     string
}

func showWebhook(v *visit) error {
	if err := v.scope(); err != nil {
		return err
	}
	if !v.ScopeCan("get", "Webhook") {
		return forbidden
	}
	id, err := uuid.Parse(v.r.PathValue("webhook"))
	if err != nil {
		return &pageError{404, "There is no such webhook", "It may have been deleted."}
	}
	p := webhookPage{Status: v.Query("status")}
	var (
		list  client.WebhookDeliveryListResponse
		state *client.DeliveryStatusFilter
		after *string
	)
	if p.Status != "" {
		state = new(client.DeliveryStatusFilter(p.Status))
	}
	if c := v.Query("cursor"); c != "" {
		after = &c
	}
	err = v.all(
		into(v, v.ofScope("get", "Webhook"), &p.Hook, func(ctx context.Context) (*client.WebhookResponse, error) {
			if v.Tenant != nil {
				return v.api.GetTenantWebhook(ctx, v.Tenant.Slug, id)
			}
			return v.api.GetPlatformWebhook(ctx, id)
		}),
		into(v, v.ofScope("list", "WebhookDeliveries"), &list, func(ctx context.Context) (*client.WebhookDeliveryListResponse, error) {
			if v.Tenant != nil {
				return v.api.ListTenantWebhookDeliveries(ctx, v.Tenant.Slug, id, &client.ListTenantWebhookDeliveriesParams{Status: state, Limit: new(40), Cursor: after})
			}
			return v.api.ListPlatformWebhookDeliveries(ctx, id, &client.ListPlatformWebhookDeliveriesParams{Status: state, Limit: new(40), Cursor: after})
		}),
	)
	if err != nil {
		return err
	}
	p.Deliveries = list.Items
	if list.NextCursor != nil {
		p.Next = "status=" + query(p.Status) + "&cursor=" + query(*list.NextCursor)
	}
	return v.render("webhook.html", "Webhook", p)
}

// changeWebhook disables, enables or deletes a webhook, or sends a delivery again.
func changeWebhook(v *visit) error {
	if err := v.scope(); err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	id, err := uuid.Parse(v.r.PathValue("webhook"))
	if err != nil {
		return &pageError{404, "There is no such webhook", "It may have been deleted."}
	}
	ctx, back := v.r.Context(), v.Base()+"/webhooks/"+id.String()
	switch do := v.r.PostForm.Get("do"); do {
	case "disable", "enable":
		body := client.UpdateWebhookRequest{Status: new(client.WebhookStatus(map[string]string{"disable": "disabled", "enable": "active"}[do]))}
		if v.Tenant != nil {
			_, err = v.api.UpdateTenantWebhook(ctx, v.Tenant.Slug, id, body, v.changes()...)
		} else {
			_, err = v.api.UpdatePlatformWebhook(ctx, id, body, v.changes()...)
		}
	case "delete":
		back = v.Base() + "/webhooks?done=deleted"
		if v.Tenant != nil {
			err = v.api.DeleteTenantWebhook(ctx, v.Tenant.Slug, id, v.changes()...)
		} else {
			err = v.api.DeletePlatformWebhook(ctx, id, v.changes()...)
		}
	case "redeliver":
		var delivery uuid.UUID
		if delivery, err = uuid.Parse(v.r.PostForm.Get("delivery")); err != nil {
			return &pageError{404, "There is no such delivery", "It may be older than what is kept."}
		}
		if v.Tenant != nil {
			_, err = v.api.RedeliverTenantWebhook(ctx, v.Tenant.Slug, id, delivery, v.changes()...)
		} else {
			_, err = v.api.RedeliverPlatformWebhook(ctx, id, delivery, v.changes()...)
		}
	default:
		return errAct
	}
	if shown, err := v.showAwaiting(err); shown {
		return err
	}
	if err != nil {
		return err
	}
	return v.redirect(back)
}
