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

// CreateTenantWebhook makes a webhook of a tenant.
func (s *server) CreateTenantWebhook(c echo.Context, _ TenantPath, p CreateTenantWebhookParams) error {
	return s.createWebhook(c, &of(c).tenantID, "/v1/tenants/"+of(c).slug+"/webhooks/", p.IdempotencyKey)
}

// CreatePlatformWebhook makes a webhook of the platform.
func (s *server) CreatePlatformWebhook(c echo.Context, p CreatePlatformWebhookParams) error {
	return s.createWebhook(c, nil, "/v1/webhooks/", p.IdempotencyKey)
}

func (s *server) createWebhook(c echo.Context, tenantID *uuid.UUID, location string, key *IdempotencyKey) error {
	var body CreateWebhookRequest
	idem, err := decodeOnce(c, key, &body)
	if err != nil {
		return err
	}
	n := webhook.New{TenantID: tenantID, URL: body.URL, Actions: or(body.Actions, nil), Description: or(body.Description, "")}
	if err := s.things.check(n.Actions); err != nil {
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
func (s *server) replayWebhook(c echo.Context, tenantID *uuid.UUID, id uuid.UUID) (webhook.Webhook, error) {
	w, err := s.cfg.Webhooks.Get(c.Request().Context(), tenantID, id)
	if errors.Is(err, webhook.ErrNotFound) {
		err = newProblem(ProblemCodeConflict, fmt.Sprintf("This request has already created the webhook %s, which was deleted since.", id))
	}
	return w, err
}

// ListTenantWebhooks lists a tenant's webhooks.
func (s *server) ListTenantWebhooks(c echo.Context, _ TenantPath, p ListTenantWebhooksParams) error {
	return s.listWebhooks(c, &of(c).tenantID, ListPlatformWebhooksParams(p))
}

// ListPlatformWebhooks lists the platform's webhooks.
func (s *server) ListPlatformWebhooks(c echo.Context, p ListPlatformWebhooksParams) error {
	return s.listWebhooks(c, nil, p)
}

func (s *server) listWebhooks(c echo.Context, tenantID *uuid.UUID, p ListPlatformWebhooksParams) error {
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
func (s *server) GetTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath) error {
	return s.getWebhook(c, &of(c).tenantID, id)
}

// GetPlatformWebhook reads a webhook of the platform.
func (s *server) GetPlatformWebhook(c echo.Context, id WebhookIDPath) error {
	return s.getWebhook(c, nil, id)
}

func (s *server) getWebhook(c echo.Context, tenantID *uuid.UUID, id uuid.UUID) error {
	w, err := s.cfg.Webhooks.Get(c.Request().Context(), tenantID, id)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, renderWebhook(w))
}

// UpdateTenantWebhook changes a tenant's webhook.
func (s *server) UpdateTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath) error {
	return s.updateWebhook(c, &of(c).tenantID, id)
}

// UpdatePlatformWebhook changes a webhook of the platform.
func (s *server) UpdatePlatformWebhook(c echo.Context, id WebhookIDPath) error {
	return s.updateWebhook(c, nil, id)
}

func (s *server) updateWebhook(c echo.Context, tenantID *uuid.UUID, id uuid.UUID) error {
	var body UpdateWebhookRequest
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	if err := s.things.check(or(body.Actions, nil)); err != nil {
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
func (s *server) DeleteTenantWebhook(c echo.Context, _ TenantPath, id WebhookIDPath) error {
	return s.deleteWebhook(c, &of(c).tenantID, id)
}

// DeletePlatformWebhook ends a webhook of the platform.
func (s *server) DeletePlatformWebhook(c echo.Context, id WebhookIDPath) error {
	return s.deleteWebhook(c, nil, id)
}

func (s *server) deleteWebhook(c echo.Context, tenantID *uuid.UUID, id uuid.UUID) error {
	if err := s.cfg.Webhooks.Delete(c.Request().Context(), by(c), tenantID, id); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// things are what actions are about: the words before their dots.
type things map[string]bool

// thingsOf reads them from the document.
func thingsOf(doc *openapi3.T) things {
	known := things{}
	for _, action := range doc.Components.Schemas["AuditAction"].Value.Enum {
		thing, _, _ := strings.Cut(action.(string), ".")
		known[thing] = true
	}
	return known
}

// check refuses actions that will never happen: a typing error must not look
// like silence.
func (t things) check(actions []string) error {
	for i, a := range actions {
		if thing, all := strings.CutSuffix(a, ".*"); !AuditAction(a).Valid() && !(all && t[thing]) {
			return invalid(fmt.Sprintf("actions[%d]", i), "is no action; accepted: those of audit events, as in key.revoked, or all of one thing's, as in key.*")
		}
	}
	return nil
}
