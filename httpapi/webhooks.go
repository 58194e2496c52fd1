package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/webhook"
)

// ListTenantWebhookDeliveries lists what became of a tenant's webhook's events.
func (s *webhookServer) ListTenantWebhookDeliveries(c echo.Context, _ TenantPath, id WebhookIDPath, p ListTenantWebhookDeliveriesParams) error {
	return s.listDeliveries(c, &of(c).tenantID, id, ListPlatformWebhookDeliveriesParams(p))
}

// ListPlatformWebhookDeliveries does so for a webhook of the platform.
func (s *webhookServer) ListPlatformWebhookDeliveries(c echo.Context, id WebhookIDPath, p ListPlatformWebhookDeliveriesParams) error {
	return s.listDeliveries(c, nil, id, p)
}

func (s *webhookServer) listDeliveries(c echo.Context, tenantID *uuid.UUID, id uuid.UUID, p ListPlatformWebhookDeliveriesParams) error {
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
func (s *webhookServer) RedeliverTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath, delivery DeliveryPath) error {
	return s.redeliver(c, &of(c).tenantID, id, delivery)
}

// RedeliverPlatformWebhook posts a delivery of the platform's once more.
func (s *webhookServer) RedeliverPlatformWebhook(c echo.Context, id WebhookIDPath, delivery DeliveryPath) error {
	return s.redeliver(c, nil, id, delivery)
}

func (s *webhookServer) redeliver(c echo.Context, tenantID *uuid.UUID, id, delivery uuid.UUID) error {
	d, err := s.cfg.Webhooks.Redeliver(c.Request().Context(), tenantID, id, delivery)
	if err != nil {
		return err
	}
	return reply(c, http.StatusAccepted, renderDelivery(d))
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

// webhookServer answers the operations on webhooks.
type webhookServer struct {
	cfg      *Config
	prefixes map[string]bool // of the names of actions, as "key" of key.revoked
}

// CreateTenantWebhook makes a webhook of a tenant.
func (s *webhookServer) CreateTenantWebhook(c echo.Context, _ TenantPath, p CreateTenantWebhookParams) error {
	return s.createWebhook(c, &of(c).tenantID, "/v1/tenants/"+of(c).slug+"/webhooks/", p.IdempotencyKey)
}

// CreatePlatformWebhook makes a webhook of the platform.
func (s *webhookServer) CreatePlatformWebhook(c echo.Context, p CreatePlatformWebhookParams) error {
	return s.createWebhook(c, nil, "/v1/webhooks/", p.IdempotencyKey)
}

func (s *webhookServer) createWebhook(c echo.Context, tenantID *uuid.UUID, location string, key *IdempotencyKey) error {
	var body CreateWebhookRequest
	idem, err := decodeOnce(c, key, &body)
	if err != nil {
		return err
	}
	n := webhook.New{TenantID: tenantID, URL: body.URL, Actions: or(body.Actions, nil), Description: or(body.Description, "")}
	if err := s.checkActions(n.Actions); err != nil {
		return err
	}
	w, err := s.cfg.Webhooks.Create(c.Request().Context(), by(c), n, idem)
	var replay *tenant.ReplayError
	if errors.As(err, &replay) {
		w, err = s.replayWebhook(c, tenantID, replay.ResourceID)
	}
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, location+w.ID.String())
	return reply(c, http.StatusCreated, renderWebhook(w))
}

// replayWebhook finds what this very request has made before.
func (s *webhookServer) replayWebhook(c echo.Context, tenantID *uuid.UUID, id uuid.UUID) (webhook.Webhook, error) {
	w, err := s.cfg.Webhooks.Get(c.Request().Context(), tenantID, id)
	if errors.Is(err, webhook.ErrNotFound) {
		err = newProblem(ProblemCodeConflict, fmt.Sprintf("This request has already created the webhook %s, which was deleted since.", id))
	}
	return w, err
}

// ListTenantWebhooks lists a tenant's webhooks.
func (s *webhookServer) ListTenantWebhooks(c echo.Context, _ TenantPath, p ListTenantWebhooksParams) error {
	return s.listWebhooks(c, &of(c).tenantID, ListPlatformWebhooksParams(p))
}

// ListPlatformWebhooks lists the platform's webhooks.
func (s *webhookServer) ListPlatformWebhooks(c echo.Context, p ListPlatformWebhooksParams) error {
	return s.listWebhooks(c, nil, p)
}

func (s *webhookServer) listWebhooks(c echo.Context, tenantID *uuid.UUID, p ListPlatformWebhooksParams) error {
	list, next, err := s.cfg.Webhooks.List(c.Request().Context(), tenantID, or(p.Limit, 0), or(p.Cursor, ""))
	if err != nil {
		return err
	}
	out := WebhookList{Items: make([]Webhook, len(list)), NextCursor: given(next)}
	for i, w := range list {
		out.Items[i] = renderWebhook(w)
	}
	return reply(c, http.StatusOK, out)
}

// GetTenantWebhook reads a tenant's webhook.
func (s *webhookServer) GetTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath) error {
	return s.getWebhook(c, &of(c).tenantID, id)
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
	return reply(c, http.StatusOK, renderWebhook(w))
}

// UpdateTenantWebhook changes a tenant's webhook.
func (s *webhookServer) UpdateTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath) error {
	return s.updateWebhook(c, &of(c).tenantID, id)
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
	if err := s.checkActions(or(body.Actions, nil)); err != nil {
		return err
	}
	w, err := s.cfg.Webhooks.Update(c.Request().Context(), by(c), tenantID, id, webhook.Change{
		URL: body.URL, Actions: body.Actions, Description: body.Description, Status: (*webhook.Status)(body.Status),
	})
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, renderWebhook(w))
}

// DeleteTenantWebhook ends a tenant's webhook.
func (s *webhookServer) DeleteTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath) error {
	return s.deleteWebhook(c, &of(c).tenantID, id)
}

// DeletePlatformWebhook ends a webhook of the platform.
func (s *webhookServer) DeletePlatformWebhook(c echo.Context, id WebhookIDPath) error {
	return s.deleteWebhook(c, nil, id)
}

func (s *webhookServer) deleteWebhook(c echo.Context, tenantID *uuid.UUID, id uuid.UUID) error {
	if err := s.cfg.Webhooks.Delete(c.Request().Context(), by(c), tenantID, id); err != nil {
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
			return invalid(fmt.Sprintf("actions[%d]", i), "is not an action; accepted: an action of the audit log, such as key.revoked, or all actions of one kind, such as key.*")
		}
	}
	return nil
}
