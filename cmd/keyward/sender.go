package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/webhook"
)

// newSender returns the sender of webhook deliveries, which the platform's
// active key signs.
func (a *app) newSender() *webhook.Sender {
	return webhook.NewSender(webhook.SenderConfig{
		Store: a.webhooks, Audit: a.audit, By: audit.By{Actor: a.workerActor()}, Render: httpapi.RenderEvent, Log: a.log,
		Sign: func(ctx context.Context, body []byte) (string, error) {
			signed, err := a.signer.Attest(ctx, signing.PayloadOrder{
				Payload: body, Typ: webhook.SignatureType, Form: tokens.Form{Detached: true},
			})
			return signed.JWS, err
		},
		SignSET: a.signEventToken,
	})
}

func (a *app) registerSender(r *prometheus.Registry) {
	for i, outcome := range webhook.Outcomes {
		addCounter(r, "keyward_webhook_deliveries_total", "Webhook delivery attempts by this process, by outcome.",
			prometheus.Labels{"outcome": outcome}, func() int64 { return a.sender.Stats()[i] })
	}
}
