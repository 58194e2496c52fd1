package httpapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/webhook"
)

// ListTenantWebhookDeliveries lists the deliveries of a tenant's webhook.
func (s *webhookServer) ListTenantWebhookDeliveries(c echo.Context, _ TenantPath, id WebhookIDPath, p ListTenantWebhookDeliveriesParams) error {
	return s.listDeliveries(c, &callOf(c).tenantID, id, ListPlatformWebhookDeliveriesParams(p))
}

// ListPlatformWebhookDeliveries lists the deliveries of a webhook of the
// platform.
func (s *webhookServer) ListPlatformWebhookDeliveries(c echo.Context, id WebhookIDPath, p ListPlatformWebhookDeliveriesParams) error {
	return s.listDeliveries(c, nil, id, p)
}

func (s *webhookServer) listDeliveries(c echo.Context, tenantID *uuid.UUID, id uuid.UUID, p ListPlatformWebhookDeliveriesParams) error {
	list, next, err := s.cfg.Webhooks.Deliveries(c.Request().Context(), tenantID, id, webhook.Filter{
		Status: webhook.DeliveryStatus(valueOr(p.Status, "")), Limit: valueOr(p.Limit, 0), Cursor: valueOr(p.Cursor, ""),
	})
	if err != nil {
		return err
	}
	out := WebhookDeliveryList{Items: make([]WebhookDelivery, len(list)), NextCursor: nonZero(next)}
	for i, d := range list {
		out.Items[i] = renderDelivery(d)
	}
	return replyJSON(c, http.StatusOK, out)
}

// RedeliverTenantWebhook sends a delivery of a tenant's webhook again.
func (s *webhookServer) RedeliverTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath, delivery DeliveryPath) error {
	return s.redeliver(c, &callOf(c).tenantID, id, delivery)
}

// RedeliverPlatformWebhook sends a delivery of a platform webhook again.
func (s *webhookServer) RedeliverPlatformWebhook(c echo.Context, id WebhookIDPath, delivery DeliveryPath) error {
	return s.redeliver(c, nil, id, delivery)
}

func (s *webhookServer) redeliver(c echo.Context, tenantID *uuid.UUID, id, delivery uuid.UUID) error {
	d, err := s.cfg.Webhooks.Redeliver(c.Request().Context(), tenantID, id, delivery)
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusAccepted, renderDelivery(d))
}

func renderWebhook(w webhook.Webhook) Webhook {
	out := Webhook{
		ID: w.ID, URL: w.URL, Actions: w.Actions, Description: nonZero(w.Description), Format: WebhookFormat(w.Format), Status: WebhookStatus(w.Status),
		DisabledReason: nonZero(WebhookDisabledReason(w.DisabledReason)), CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt, LastDeliveryAt: w.LastDeliveryAt,
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
		NextAttemptAt: d.NextAttemptAt, LastAttemptAt: d.LastAttemptAt, LastStatus: nonZero(d.LastStatus),
		LastError: nonZero(WebhookDeliveryLastError(d.LastError)), DeliveredAt: d.DeliveredAt, CreatedAt: d.CreatedAt,
	}
}

// webhookServer answers the operations on webhooks.
type webhookServer struct {
	cfg      *Config
	prefixes map[string]bool // of the names of actions, as "key" of key.revoked
}

// CreateTenantWebhook creates a webhook of a tenant.
func (s *webhookServer) CreateTenantWebhook(c echo.Context, _ TenantPath) error {
	return s.createWebhook(c, &callOf(c).tenantID, "/v1/tenants/"+callOf(c).slug+"/webhooks/")
}

// CreatePlatformWebhook creates a webhook of the platform.
func (s *webhookServer) CreatePlatformWebhook(c echo.Context) error {
	return s.createWebhook(c, nil, "/v1/webhooks/")
}

func (s *webhookServer) createWebhook(c echo.Context, tenantID *uuid.UUID, location string) error {
	var body CreateWebhookRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	n := webhook.New{TenantID: tenantID, URL: body.URL, Actions: valueOr(body.Actions, nil), Description: valueOr(body.Description, ""), Format: webhook.Format(valueOr(body.Format, ""))}
	if err := s.checkActions(n.Actions); err != nil {
		return err
	}
	w, err := s.cfg.Webhooks.Create(c.Request().Context(), auditBy(c), n)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, location+w.ID.String())
	return replyJSON(c, http.StatusCreated, renderWebhook(w))
}

// ListTenantWebhooks lists a tenant's webhooks.
func (s *webhookServer) ListTenantWebhooks(c echo.Context, _ TenantPath, p ListTenantWebhooksParams) error {
	return s.listWebhooks(c, &callOf(c).tenantID, ListPlatformWebhooksParams(p))
}

// ListPlatformWebhooks lists the platform's webhooks.
func (s *webhookServer) ListPlatformWebhooks(c echo.Context, p ListPlatformWebhooksParams) error {
	return s.listWebhooks(c, nil, p)
}

func (s *webhookServer) listWebhooks(c echo.Context, tenantID *uuid.UUID, p ListPlatformWebhooksParams) error {
	list, next, err := s.cfg.Webhooks.List(c.Request().Context(), tenantID, valueOr(p.Limit, 0), valueOr(p.Cursor, ""))
	if err != nil {
		return err
	}
	out := WebhookList{Items: make([]Webhook, len(list)), NextCursor: nonZero(next)}
	for i, w := range list {
		out.Items[i] = renderWebhook(w)
	}
	return replyJSON(c, http.StatusOK, out)
}

// GetTenantWebhook reads a tenant's webhook.
func (s *webhookServer) GetTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath) error {
	return s.getWebhook(c, &callOf(c).tenantID, id)
}

// GetPlatformWebhook reads a webhook of the platform.
func (s *webhookServer) GetPlatformWebhook(c echo.Context, id WebhookIDPath) error {
	return s.getWebhook(c, nil, id)
}

func (s *webhookServer) getWebhook(c echo.Context, tenantID *uuid.UUID, id uuid.UUID) error {
	w, err := s.cfg.Webhooks.Get(c.Request().Context(), tenantID, id)
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, renderWebhook(w))
}

// UpdateTenantWebhook changes a tenant's webhook.
func (s *webhookServer) UpdateTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath) error {
	return s.updateWebhook(c, &callOf(c).tenantID, id)
}

// UpdatePlatformWebhook changes a webhook of the platform.
func (s *webhookServer) UpdatePlatformWebhook(c echo.Context, id WebhookIDPath) error {
	return s.updateWebhook(c, nil, id)
}

func (s *webhookServer) updateWebhook(c echo.Context, tenantID *uuid.UUID, id uuid.UUID) error {
	var body UpdateWebhookRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	if err := s.checkActions(valueOr(body.Actions, nil)); err != nil {
		return err
	}
	w, err := s.cfg.Webhooks.Update(c.Request().Context(), auditBy(c), tenantID, id, webhook.Change{
		URL: body.URL, Actions: body.Actions, Description: body.Description, Status: (*webhook.Status)(body.Status),
	})
	if err != nil {
		return err
	}
	return replyJSON(c, http.StatusOK, renderWebhook(w))
}

// DeleteTenantWebhook deletes a tenant's webhook.
func (s *webhookServer) DeleteTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath) error {
	return s.deleteWebhook(c, &callOf(c).tenantID, id)
}

// DeletePlatformWebhook deletes a webhook of the platform.
func (s *webhookServer) DeletePlatformWebhook(c echo.Context, id WebhookIDPath) error {
	return s.deleteWebhook(c, nil, id)
}

func (s *webhookServer) deleteWebhook(c echo.Context, tenantID *uuid.UUID, id uuid.UUID) error {
	if err := s.cfg.Webhooks.Delete(c.Request().Context(), auditBy(c), tenantID, id); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// actionPrefixes reads the words before the dots of all actions from the
// document.
func actionPrefixes(doc *openapi3.T) map[string]bool {
	known := map[string]bool{}
	for _, action := range doc.Components.Schemas["AuditAction"].Value.Enum {
		prefix, _, _ := strings.Cut(action.(string), ".")
		known[prefix] = true
	}
	return known
}

// checkActions refuses actions that do not exist: a misspelled one would match
// no event and look like silence.
func (s *webhookServer) checkActions(actions []string) error {
	for i, a := range actions {
		if prefix, all := strings.CutSuffix(a, ".*"); !AuditAction(a).Valid() && !(all && s.prefixes[prefix]) {
			return invalidField(fmt.Sprintf("actions[%d]", i), "is not an action; accepted: an action of the audit log, such as key.revoked, or all actions of one kind, such as key.*")
		}
	}
	return nil
}
