package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

type webhookDeliveriesCmd struct {
	Status string `name:"status" enum:",pending,delivered,failed" default:"" placeholder:"STATUS" help:"Filter by status: pending, delivered or failed."`
	webhookArg
	listFlags
}

// Run is keyward webhook deliveries.
func (c *webhookDeliveriesCmd) Run(ctx context.Context, p *program) error {
	w, err := c.openWebhooks()
	if err != nil {
		return err
	}
	status := nonEmpty(client.WebhookDeliveryStatus(c.Status))
	return printList(p, c.JSON, c.listFlags, rows[client.WebhookDelivery]{head: deliveryHead, row: deliveryRow, none: "No matching deliveries."},
		func(limit *int, cursor *string) (*http.Response, error) {
			if w.tenant == "" {
				return w.requests.ListPlatformWebhookDeliveries(ctx, c.ID, &client.ListPlatformWebhookDeliveriesParams{Status: status, Limit: limit, Cursor: cursor})
			}
			return w.requests.ListTenantWebhookDeliveries(ctx, w.tenant, c.ID, &client.ListTenantWebhookDeliveriesParams{Status: status, Limit: limit, Cursor: cursor})
		})
}

var deliveryHead = []string{"ID", "STATUS", "TRIES", "LAST ANSWER", "TENANT", "ACTION", "SEQ", "CREATED", "LAST TRY", "NEXT TRY"}

func deliveryRow(d client.WebhookDelivery) []string {
	return []string{
		d.ID.String(), string(d.Status), fmt.Sprint(d.Attempts), lastAnswer(d), d.Event.Tenant, string(d.Event.Action), fmt.Sprint(d.Event.Seq),
		formatTime(d.CreatedAt), optionalText(d.LastAttemptAt, formatTime), optionalText(d.NextAttemptAt, formatTime),
	}
}

// lastAnswer describes the result of the last attempt.
func lastAnswer(d client.WebhookDelivery) string {
	said := ""
	if d.LastStatus != nil {
		said = fmt.Sprint(*d.LastStatus)
	}
	if d.LastError != nil {
		said += " " + string(*d.LastError)
	}
	return orDash(strings.TrimSpace(said))
}

type webhookRedeliverCmd struct {
	ID       uuid.UUID `arg:"" name:"id" help:"Select the webhook by id, as keyward webhook list prints it."`
	Delivery uuid.UUID `arg:"" name:"delivery" help:"Select the delivery by id, as keyward webhook deliveries prints it."`
	eventScope
}

// Run is keyward webhook redeliver.
func (c *webhookRedeliverCmd) Run(ctx context.Context, p *program) error {
	w, err := c.openWebhooks()
	if err != nil {
		return err
	}
	resp, err := w.redeliver(ctx, c.ID, c.Delivery)
	return printAnswer(p, c.JSON, resp, err, func(d client.WebhookDelivery) error {
		fmt.Fprintln(p.stderr, "It is due now; the receiver gets the same id again.")
		return p.printTable(table{head: deliveryHead, rows: [][]string{deliveryRow(d)}})
	})
}

func (s webhookAPI) redeliver(ctx context.Context, id, delivery uuid.UUID) (*http.Response, error) {
	if s.tenant == "" {
		return s.requests.RedeliverPlatformWebhook(ctx, id, delivery)
	}
	return s.requests.RedeliverTenantWebhook(ctx, s.tenant, id, delivery)
}
