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

// webhookType is the typ of a webhook's signature, so that nothing else that
// the platform signs passes for one (RFC 8725 section 3.11).
const webhookType = "keyward-webhook+jws"

// newSender makes what posts events, signed by the platform's active key.
func (a *app) newSender() *webhook.Sender {
	return webhook.NewSender(webhook.SenderConfig{
		Store: a.webhooks, Audit: a.audit, By: audit.By{Actor: a.actor()}, Render: httpapi.RenderEvent, Log: a.log,
		Sign: func(ctx context.Context, body []byte) (string, error) {
			signed, err := a.signer.Attest(ctx, signing.PayloadOrder{
				Payload: body, Typ: webhookType, Form: tokens.Form{Detached: true},
			})
			return signed.JWS, err
		},
	})
}

func (a *app) registerSender(r *prometheus.Registry) {
	for i, outcome := range webhook.Outcomes {
		counter(r, "keyward_webhook_deliveries_total", "Attempts to deliver an event by this process, by what came of them.",
			prometheus.Labels{"outcome": outcome}, func() int64 { return a.sender.Stats()[i] })
	}
}
