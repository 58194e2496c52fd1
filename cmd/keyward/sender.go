package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/webhook"
)

// newSender returns the sender of webhook deliveries, which the platform's
// active key signs.
func (a *app) newSender() *webhook.Sender {
	return webhook.NewSender(webhook.SenderConfig{
		Store: a.webhooks, Audit: a.audit, By: audit.By{Actor: a.workerActor()}, Render: httpapi.RenderEvent, Log: a.log,
		Signer: httpapi.EventSigner{Snapshots: a.snapshots, Signer: a.signer, PublicURL: a.publicURL},
	})
}

func (a *app) registerSender(r *prometheus.Registry) {
	for i, outcome := range webhook.Outcomes {
		addCounter(r, "keyward_webhook_deliveries_total", "Webhook delivery attempts by this process, by outcome.",
			prometheus.Labels{"outcome": outcome}, func() int64 { return a.sender.Stats()[i] })
	}
}
