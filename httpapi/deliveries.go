package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/webhook"
)

// ListTenantWebhookDeliveries lists what became of a tenant's webhook's events.
func (s *server) ListTenantWebhookDeliveries(c echo.Context, _ TenantPath, id WebhookIDPath, p ListTenantWebhookDeliveriesParams) error {
	return s.listDeliveries(c, &of(c).tenantID, id, ListPlatformWebhookDeliveriesParams(p))
}

// ListPlatformWebhookDeliveries does so for a webhook of the platform.
func (s *server) ListPlatformWebhookDeliveries(c echo.Context, id WebhookIDPath, p ListPlatformWebhookDeliveriesParams) error {
	return s.listDeliveries(c, nil, id, p)
}

func (s *server) listDeliveries(c echo.Context, tenantID *uuid.UUID, id uuid.UUID, p ListPlatformWebhookDeliveriesParams) error {
	list, next, err := s.cfg.Webhooks.Deliveries(c.Request().Context(), tenantID, id, webhook.Filter{
		Status: webhook.DeliveryStatus(or(p.Status, "")), Limit: or(p.Limit, 0), Cursor: or(p.Cursor, ""),
	})
	if err != nil {
		return err
	}
	out := WebhookDeliveryList{Items: make([]WebhookDelivery, len(list)), NextCursor: given(next)}
	for i, d := range list {
		out.Items[i] = renderDelivery(d)
	}
	return reply(c, http.StatusOK, out)
}

// RedeliverTenantWebhook posts a delivery of a tenant's once more.
func (s *server) RedeliverTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath, delivery DeliveryPath) error {
	return s.redeliver(c, &of(c).tenantID, id, delivery)
}

// RedeliverPlatformWebhook posts a delivery of the platform's once more.
func (s *server) RedeliverPlatformWebhook(c echo.Context, id WebhookIDPath, delivery DeliveryPath) error {
	return s.redeliver(c, nil, id, delivery)
}

func (s *server) redeliver(c echo.Context, tenantID *uuid.UUID, id, delivery uuid.UUID) error {
	d, err := s.cfg.Webhooks.Redeliver(c.Request().Context(), tenantID, id, delivery)
	if err != nil {
		return err
	}
	return reply(c, http.StatusAccepted, renderDelivery(d))
}

// RenderEvent is an audit event as this API shows it, for others who tell of
// events.
func RenderEvent(e audit.Event) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(renderEvent(e))
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func renderWebhook(w webhook.Webhook) Webhook {
	out := Webhook{
		ID: w.ID, URL: w.URL, Actions: w.Actions, Description: given(w.Description), Status: WebhookStatus(w.Status),
		DisabledReason: given(WebhookDisabledReason(w.DisabledReason)), CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt, LastDeliveryAt: w.LastDeliveryAt,
	}
	if out.Actions == nil {
		out.Actions = []string{}
	}
	return out
}

func renderDelivery(d webhook.Delivery) WebhookDelivery {
	return WebhookDelivery{
		ID: d.ID, WebhookID: d.WebhookID, Status: WebhookDeliveryStatus(d.Status), Attempts: d.Attempts,
		Event:         DeliveredEvent{Tenant: d.Tenant, TenantID: d.TenantID, Seq: d.Seq, Action: AuditAction(d.Action)},
		NextAttemptAt: d.NextAttemptAt, LastAttemptAt: d.LastAttemptAt, LastStatus: given(d.LastStatus),
		LastError: given(WebhookDeliveryLastError(d.LastError)), DeliveredAt: d.DeliveredAt, CreatedAt: d.CreatedAt,
	}
}
